"""docs/rpc.md says what the code does: its tables of methods and errors are made from the code.

``python -m tests.rpc.test_docs`` writes them anew.
"""

from __future__ import annotations

import re
from pathlib import Path

from rpc.jsonrpc import ERRORS
from rpc.table import make_table
from tests.rpc.world import make_world

PAGE = Path(__file__).parents[2] / "docs" / "rpc.md"


def errors() -> str:
    rows = [f"| {code} | {name} | {sentence} |" for code, (name, sentence) in ERRORS.items()]
    return "\n".join(["| code | name | when |", "|---|---|---|", *rows])


def methods() -> str:
    rows = []
    for entry in make_table(make_world()).values():
        shown = [name if param.required else f"{name}?" for name, param in entry.params.items()]
        verb = "" if entry.reads else " (POST only)"
        rows.append(f"| `{entry.name}` | {', '.join(shown)} | {entry.summary}{verb} |")
    head = ["| method | parameters (`?`: may be left out) | |", "|---|---|---|"]
    return "\n".join([*head, *rows])


def with_tables(page: str) -> str:
    for name, table in (("errors", errors()), ("methods", methods())):
        pattern = rf"(<!-- {name}: .*? -->\n).*?(<!-- end of {name} -->)"
        page, found = re.subn(pattern, lambda m, t=table: f"{m[1]}{t}\n{m[2]}", page, flags=re.S)
        assert found == 1, f"the page has no place for {name}"
    return page


def test_the_page_has_the_tables_of_the_code() -> None:
    page = PAGE.read_text()

    assert with_tables(page) == page, "run python -m tests.rpc.test_docs"


def test_every_method_in_the_text_exists() -> None:
    table = make_table(make_world())
    families = "|".join(sorted({name.partition(".")[0] for name in table}))
    text = PAGE.read_text()

    called = set(re.findall(r'"method": "([a-z_.]+)"', text))
    called |= set(re.findall(rf"localhost:26657/((?:{families})\.\w+)", text))

    assert called - set(table) == {"events.event"}


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
