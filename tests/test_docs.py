"""The documentation fits the code: files, links, rules, settings, refusals, dependencies.

Pages are read as text and code as syntax; nothing is run. The table of settings is made here:
``python -m tests.test_docs`` writes it anew.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest

from colophon.config import Config

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PRODUCT = ("chain", "consensus", "state", "p2p", "rpc", "colophon", "tools")
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))
PARTS = ("## Context", "## Options weighed", "## Decision", "## Consequences")

LETTERS = "EHISTFBVGCMARXJPQW"
"""First letters of rule numbers, and P, which numbers nothing in protocol.md."""
LATE_SECTIONS = "BVCJ"
"""Sections that may not be written yet; their rules are looked up once they are."""
RULE = re.compile(rf"\b(N-[a-z]+\.\d+|[{LETTERS}]\d{{1,2}})\b")
SPAN = re.compile(rf"\b([{LETTERS}]|N-[a-z]+\.)(\d{{1,2}}) ?– ?\1(\d{{1,2}})\b")
DEFINED = re.compile(r"\*\*(N-[a-z]+\.\d+|[A-Z]\d{1,2})\b")
NO_RULES = re.compile(r"noqa\S* *\S+|type: ignore\S*")

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
NAMED_FILE = re.compile(rf"`((?:{'|'.join((*PRODUCT, 'tests', 'docs'))})/[\w./-]+\.\w+)`")
MARKED = re.compile(r"(<!-- settings: .*? -->\n).*?(<!-- end of settings -->)", re.DOTALL)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def code_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def without_code(text: str) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


# --- files and links ---------------------------------------------------------------------------


def test_the_map_has_every_file_and_no_other() -> None:
    text = read(DOCS / "architecture.md")
    listed = re.findall(rf"^- `((?:{'|'.join(PRODUCT)})/[\w/]+\.py)` ", text, re.MULTILINE)
    files = {name_of(path) for path in code_files(*PRODUCT)}

    assert sorted(files - set(listed)) == [], "not in docs/architecture.md"
    assert sorted(set(listed) - files) == [], "in docs/architecture.md, but not there"
    assert len(listed) == len(set(listed)), "a file is listed twice"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_names_exist(page: Path) -> None:
    missing = [name for name in NAMED_FILE.findall(read(page)) if not (ROOT / name).exists()]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(without_code(read(page))) if not leads(page, link)]

    assert broken == []


def leads(page: Path, link: str) -> bool:
    """Tell whether a link's file is there, and in it the heading that is named."""
    if re.match(r"[a-z]+:", link):
        return True
    place, _, anchor = link.partition("#")
    target = page if not place else page.parent / place
    if not target.exists():
        return False
    return not anchor or anchor in {slug(line) for line in headings(target)}


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.*)$", without_code(read(page)), re.MULTILINE)


def slug(heading: str) -> str:
    """Return the anchor that a heading has on the usual forges."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_index_has_every_page() -> None:
    linked = {(DOCS / link).resolve() for link in LINK.findall(read(DOCS / "README.md"))}
    pages = {page.resolve() for page in PAGES if DOCS in page.parents} - {DOCS / "README.md"}

    assert sorted(name_of(page) for page in pages - linked) == []


# --- decisions ---------------------------------------------------------------------------------


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in DECISIONS]

    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("page", DECISIONS, ids=name_of)
def test_a_decision_has_its_parts_in_order(page: Path) -> None:
    text = read(page)
    places = [text.find(f"\n{part}\n") for part in PARTS]

    assert text.startswith(f"# {page.name[:4]}. ")
    assert re.search(r"^Date: \d{4}-\d{2}-\d{2}$", text, re.MULTILINE)
    assert -1 not in places and places == sorted(places)
    assert len(text.splitlines()) <= 80, "a decision is one page"


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[<>=]", entry)[0] for group in groups for entry in group}

    reasons = set(re.findall(r"^(?:\| |Optional: )`([\w-]+)`", read(DECISIONS[2]), re.MULTILINE))

    assert reasons == names


# --- rules -------------------------------------------------------------------------------------


def defined_rules() -> set[str]:
    return set(DEFINED.findall(read(DOCS / "protocol.md")))


def unwritten_letters() -> set[str]:
    written = re.findall(r"^## ([A-Z])\. ", read(DOCS / "protocol.md"), re.MULTILINE)
    return set(LATE_SECTIONS) - set(written)


def cited_rules(text: str) -> set[str]:
    """Return the rule numbers in a comment or docstring; ``A1–A3`` is three of them."""
    text = NO_RULES.sub("", text)
    found = set(RULE.findall(text))
    for letter, first, last in SPAN.findall(text):
        found |= {f"{letter}{number}" for number in range(int(first), int(last) + 1)}
    return found


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of every comment and docstring of a file."""
    source = read(path)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


@pytest.mark.parametrize("path", code_files(*PRODUCT, "tests"), ids=name_of)
def test_rules_that_code_cites_are_in_the_protocol(path: Path) -> None:
    rules, unwritten = defined_rules(), unwritten_letters()

    unknown = [
        f"line {line}: {rule}"
        for line, text in prose_of(path)
        for rule in sorted(cited_rules(text) - rules)
        if rule[0] not in unwritten
    ]

    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_rules_that_a_page_cites_are_in_the_protocol(page: Path) -> None:
    rules, unwritten = defined_rules(), unwritten_letters()

    unknown = sorted(cited_rules(without_code(read(page))) - rules)

    assert [rule for rule in unknown if rule[0] not in unwritten] == []


def test_a_rule_is_defined_once() -> None:
    found = DEFINED.findall(read(DOCS / "protocol.md"))

    assert sorted({rule for rule in found if found.count(rule) > 1}) == []


def test_citations_are_recognised() -> None:
    cited = cited_rules("see (E3), protocol.md A2, N-ip.7 and C13; V1–V3; N-bank.1 – N-bank.2")

    assert cited == {"E3", "A2", "N-ip.7", "C13", "V1", "V2", "V3", "N-bank.1", "N-bank.2"}
    assert cited_rules("X25519, SHA-256, U64, noqa: T201") == set()


# --- operating ---------------------------------------------------------------------------------


def settings_table() -> str:
    """Return every setting: name, default, what it takes, what it does."""
    comments = setting_comments()
    rows = ["| setting | default | takes | what it does |", "|---|---|---|---|"]
    for section in msgspec.structs.fields(Config):
        for entry in msgspec.structs.fields(section.type):
            name = f"{section.name}.{entry.name}"
            default = entry.default if entry.default_factory is msgspec.NODEFAULT else []
            rows.append(
                f"| `{name}` | `{shown(default)}` | {takes(entry.type)} | {comments[name]} |"
            )
    return "\n".join(rows)


def setting_comments() -> dict[str, str]:
    """Return the comment above each setting of node.toml, on one line."""
    comments: dict[str, str] = {}
    section, lines = "", list[str]()
    for line in read(ROOT / "node.toml").splitlines():
        if line.startswith("#"):
            lines.append(line.removeprefix("#").strip())
            continue
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line:
            comments[f"{section}.{line.split('=')[0].strip()}"] = " ".join(lines)
        lines = []
    return comments


def shown(value: Any) -> str:
    """Return a value as it stands in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def takes(kind: Any) -> str:
    """Return in words what a setting may be."""
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    bare, meta = kind, msgspec.Meta()
    if hasattr(kind, "__metadata__"):
        bare, meta = get_args(kind)[0], kind.__metadata__[0]
    if bare is int:
        return f"{meta.ge} .. {meta.le}" if meta.le is not None else f"at least {meta.ge}"
    if bare is str:
        return "text" if meta.max_length is None else f"text, up to {meta.max_length} characters"
    return {bool: "true or false", list[str]: "list of text"}[bare]


def with_settings(page: str) -> str:
    fresh, found = MARKED.subn(lambda match: f"{match[1]}{settings_table()}\n{match[2]}", page)
    assert found == 1, "docs/operating.md has no place for the settings"
    return fresh


def test_the_settings_are_those_of_the_code() -> None:
    page = read(DOCS / "operating.md")

    assert with_settings(page) == page, "run python -m tests.test_docs"


START_FILES = (
    "state/disk_fault.py",
    *("chain/genesis.py", "chain/params.py", "colophon/config.py", "colophon/home.py"),
    *("colophon/node.py", "colophon/testnet/make.py", "colophon/maintenance.py"),
    *("state/store.py", "state/opening.py", "state/executor.py", "colophon/cli/testnet.py"),
    *(f"colophon/testnet/{name}.py" for name in ("layout", "network", "process")),
)
CODE = re.compile(r"\b((?:config|home|store|genesis|node|testnet)/[A-Z]\w+)")


def test_every_refusal_of_a_start_is_explained() -> None:
    raised = {code for name in START_FILES for code in CODE.findall(read(ROOT / name))}

    assert set(CODE.findall(read(DOCS / "operating.md"))) == raised


def test_every_metric_is_explained() -> None:
    tree = ast.parse(read(ROOT / "colophon" / "backend.py"))
    counters = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "counters"
    )
    table = next(node for node in ast.walk(counters) if isinstance(node, ast.Dict))
    names = [ast.literal_eval(key) for key in table.keys if key is not None]
    text = read(DOCS / "operating.md")

    assert sorted(name for name in names if f"`{name}`" not in text) == []


if __name__ == "__main__":
    operating = DOCS / "operating.md"
    operating.write_text(with_settings(read(operating)), encoding="utf-8")
