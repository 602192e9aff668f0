"""Every refusal has a permanent code, and every code is met by a test.

Codes are read from the source; a code that no test names is a rule nobody has seen work.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("chain", "consensus", "state", "p2p", "rpc")
"""Where the codes of the protocol are; those of the command line may still change."""
FORM = re.compile(r"[a-z0-9]+/[A-Z][A-Za-z0-9]*")
RAISERS = {"Rejected", "NotFound", "Unavailable", "Busy", "TimedOut"}


def code_of(node: ast.AST) -> str | None:
    """Return the code that a node raises, if it is a refusal with a literal one."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
        return None
    code = node.args[0]
    if node.func.id not in RAISERS or not isinstance(code, ast.Constant):
        return None
    return code.value if isinstance(code.value, str) else None


def codes() -> dict[str, str]:
    """Return code → where it is raised."""
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                code = code_of(node)
                if code is not None:
                    found[code] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return found


def test_codes_have_one_form() -> None:
    wrong = {code: where for code, where in codes().items() if not FORM.fullmatch(code)}

    assert not wrong


def test_every_code_is_met_by_a_test() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    tests = "\n".join(texts)

    missing = {
        code: where
        for code, where in codes().items()
        if code not in tests and code.split("/")[1] not in tests
    }

    assert not missing
