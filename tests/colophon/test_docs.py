"""The pages for users tell the truth: tables follow the code, examples run, refusals are complete.

Python blocks of a page run one after the other against a served world; JSON blocks are drafted.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chain.errors import Rejected
from colophon.wallet import Draft
from state.families import MODULES
from tests.colophon.served import Node

ROOT = Path(__file__).parents[2]
PAGES = ("account", "bank", "ip", "license", "royalty", "sdk", "cli")
FAMILIES = ("account", "bank", "ip", "license", "royalty", "anchor")
CODE = re.compile(r'"((?:account|bank|ip|license|royalty|anchor)/[A-Z][A-Za-z]+)"')


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page(name), re.S | re.M)


def sources(family: str) -> str:
    place = ROOT / "state" / "modules"
    paths = [place / f"{family}.py", *sorted((place / family).glob("*.py"))]
    return "".join(path.read_text(encoding="utf-8") for path in paths if path.exists())


def test_the_tables_are_those_of_the_code():
    tool = (
        "import sys; sys.path.insert(0, 'tools'); import gen_docs\n"
        "for path in sorted(gen_docs.DOCS.glob('*.md')):\n"
        "    text = path.read_text(encoding='utf-8')\n"
        "    assert gen_docs.generated(text) == text, f'{path}: run python tools/gen_docs.py'\n"
    )

    done = subprocess.run([sys.executable, "-c", tool], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [name for name in PAGES if blocks(name, "python")])
def test_the_python_examples_run(node: Node, monkeypatch, capsys, name):
    monkeypatch.setenv("COLOPHON_NODE", node.url)
    names: dict[str, object] = {"__name__": "docs"}
    code = "\n".join(blocks(name, "python"))

    try:
        exec(compile(code, f"docs/{name}.md", "exec"), names)
    finally:
        names["client"].close()  # type: ignore[attr-defined]  # every page makes a client


@pytest.mark.parametrize("name", PAGES)
def test_the_json_examples_are_transactions(name):
    for text in blocks(name, "json"):
        draft = Draft()
        for form in json.loads(text)["messages"]:
            draft.add_form(form)
        assert draft.messages


@pytest.mark.parametrize("name", PAGES)
def test_links_between_pages_lead_somewhere(name):
    for target in re.findall(r"\]\(([a-z]+\.md)(?:#[a-z-]+)?\)", page(name)):
        if target != "protocol.md":
            assert (ROOT / "docs" / target).exists(), target


@pytest.mark.parametrize("family", FAMILIES)
def test_every_refusal_of_a_family_is_explained(family):
    known = page(family) + "".join(page(other) for other in FAMILIES)
    own = {code for code in CODE.findall(sources(family)) if code.startswith(family)}

    missing = sorted(code for code in own if code not in known)

    assert not missing
    assert own or family == "bank"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_message_has_its_place_on_the_familys_page(family):
    module = next(module for module in MODULES if module.name == family)

    for message in module.messages:
        assert f"`{message.__struct_config__.tag}`" in page(family)


def test_a_json_example_that_is_wrong_would_be_noticed():
    with pytest.raises(Rejected):
        Draft().add_form({"type": "bank.send", "colour": "red"})
