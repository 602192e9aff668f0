"""The house keeps its shape: imports, purity, sizes, cycles (docs/architecture.md).

Every module is parsed, nothing is run. A failure names file, line and rule.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from state.families import MODULES

ROOT = Path(__file__).parent.parent
FOLDERS = ("chain", "consensus", "state", "p2p", "rpc", "colophon")

MAY_IMPORT = {
    "chain": set(),
    "consensus": {"chain"},
    "state": {"chain"},
    "p2p": {"chain"},
    "rpc": {"chain", "state"},
    "colophon": {"chain", "consensus", "state", "p2p", "rpc"},
}
RPC_MAY_SEE = {"state.queries", "state.module", "state.modules", "state.registry", "state.families"}

PURE = ("chain", "consensus", "state/modules")
IMPURE = {
    "asyncio", "datetime", "io", "logging", "multiprocessing", "os", "pathlib", "random",
    "secrets", "selectors", "shutil", "signal", "socket", "subprocess", "sys", "tempfile",
    "threading", "time", "aiohttp", "plyvel", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "hash", "id", "eval", "exec"}

FILE_LINES_MAX = 650
FUNCTION_LINES_MAX = 70


def modules() -> list[Path]:
    """Return every Python file of the product."""
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """Return the dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> list[tuple[int, str, int]]:
    """Return (line, absolute name, depth) of every import; depth 0 is the module's top level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    package = name_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree):
        depth = int(id(node) in inside)
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, depth) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{stem}.{alias.name}", depth) for alias in node.names]
    return found


ALL = {name_of(path): path for path in modules()}


def resolve(name: str) -> str | None:
    """Return the module of ours that an imported name lives in."""
    while name:
        if name in ALL:
            return name
        name = name.rpartition(".")[0]
    return None


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_folder_may(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    for line, name, _ in imports_of(path):
        target = name.split(".")[0]
        if target not in FOLDERS or target == folder:
            continue
        assert target in MAY_IMPORT[folder], f"{path}:{line} {folder} must not import {name}"
        if folder == "rpc" and target == "state":
            seen = any(name == door or name.startswith(door + ".") for door in RPC_MAY_SEE)
            assert seen, f"{path}:{line} rpc sees the state only through its queries, not {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_at_its_top(path: Path) -> None:
    if "cli" in path.parts:
        pytest.skip("commands import what they need when they run: start-up time")
    late = [(line, name) for line, name, depth in imports_of(path) if depth]
    assert not late, f"{path} imports inside functions: {late}"


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if str(path.relative_to(ROOT)).startswith(PURE)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_pure_file_knows_no_world(path: Path) -> None:
    for line, name, _ in imports_of(path):
        assert name.split(".")[0] not in IMPURE, f"{path}:{line} imports {name}"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"{path}:{node.lineno} calls {node.func.id}"
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            pytest.fail(f"{path}:{node.lineno} has a float")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= FILE_LINES_MAX, f"{path} has {text.count(chr(10))} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            assert size <= FUNCTION_LINES_MAX, f"{path}:{node.lineno} {node.name}: {size} lines"


def test_no_module_imports_itself_in_a_circle() -> None:
    edges = {
        name: sorted({t for _, i, _ in imports_of(path) if (t := resolve(i)) and t != name})
        for name, path in ALL.items()
    }
    state: dict[str, int] = {}

    def visit(name: str, trail: list[str]) -> None:
        state[name] = 1
        for target in edges[name]:
            # A package and its own submodules initialise together.
            if name.startswith(target + ".") or target.startswith(name + "."):
                continue
            if state.get(target) == 1:
                pytest.fail("import cycle: " + " → ".join([*trail, name, target]))
            if target not in state:
                visit(target, [*trail, name])
        state[name] = 2

    for name in edges:
        if name not in state:
            visit(name, [])


def test_a_family_imports_only_families_before_it() -> None:
    order = [module.name for module in MODULES]
    for name, path in ALL.items():
        parts = name.split(".")
        if parts[:2] != ["state", "modules"] or len(parts) < 3:
            continue
        for line, imported, _ in imports_of(path):
            other = imported.split(".")
            if other[:2] == ["state", "modules"] and len(other) > 2 and other[2] in order:
                assert order.index(other[2]) <= order.index(parts[2]), f"{path}:{line} {imported}"
