"""Writes the tables in docs/ that follow from the code, between markers; a test compares them.

    <!-- messages ip -->  …  <!-- end -->      messages of a family: fields, weight, writes
    <!-- fields ip -->    …  <!-- end -->      fields of each message with their types
    <!-- queries ip -->   …  <!-- end -->      queries of a family
    <!-- commands -->     …  <!-- end -->      the command line
    <!-- names -->        …  <!-- end -->      names `import colophon` gives
    <!-- otel -->         …  <!-- end -->      short names of an interaction's fields

``python tools/gen_docs.py`` rewrites them.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from chain.codec import Record
from chain.fields import Blob, fields_of, json_names, optional_of, split_annotation
from chain.ids import PREFIX, Kind
from chain.json_form import defaults_of
from colophon.cli.main import app
from colophon.cli.values import Shape
from colophon.interactions import FIELD_NAMES
from state.families import MODULES, REGISTRY
from state.module import Message

DOCS = Path(__file__).parents[1] / "docs"
MARKED = re.compile(
    r"(<!-- (messages|fields|queries|commands|names|otel) ?([a-z]*) -->\n).*?(<!-- end -->)", re.S
)


def sentence(text: str | None) -> str:
    """Return the first sentence of a docstring, on one line."""
    first = (inspect.cleandoc(text or "")).split("\n\n")[0].replace("\n", " ")
    return re.sub(r" \(N-[a-z]+\.[0-9]+\)", "", first).replace("``", "`").rstrip(".")


def messages(family: str) -> str:
    """Return the table of a family's messages."""
    rows = ["| message | what it does | weight | keys written |", "|---|---|---|---|"]
    for tag, kind in REGISTRY.messages.items():
        if tag.split(".")[0] == family:
            weight = priced(kind, "weight", kind.WEIGHT)
            writes = priced(kind, "writes", kind.WRITES)
            rows.append(f"| `{tag}` | {sentence(kind.__doc__)} | {weight} | {writes} |")
    return "\n".join(rows)


def priced(kind: type[Message], method: str, base: int) -> str:
    """Return a constant, or where lists decide the constant and how it grows."""
    grows = vars(kind).get(method)
    return str(base) if grows is None else f"{base} and more: {sentence(grows.__doc__)}"


def fields(family: str) -> str:
    """Return a table of fields for each message of a family."""
    parts = []
    for tag, kind in REGISTRY.messages.items():
        if tag.split(".")[0] == family:
            parts += [f"**`{tag}`** {rule_of(kind)}\n", field_table(kind)]
    return "\n".join(parts).rstrip()


def rule_of(kind: type[Message]) -> str:
    """Return the number of the rule a message follows."""
    found = re.search(r"\((N-[a-z]+\.[0-9]+)\)", kind.__doc__ or "")
    return f"({found[1]})" if found else ""


def field_table(kind: type[Record]) -> str:
    """Return the table of one record's fields."""
    kinds, defaults = fields_of(kind), defaults_of(kind)
    rows = ["| field | type | if left out |", "|---|---|---|"]
    for name, attribute in json_names(kind).items():
        optional = optional_of(split_annotation(kinds[attribute])[0]) is not None
        missing = "needed"
        if attribute in defaults:
            missing = shown_default(defaults[attribute])
        elif optional:
            missing = "none"
        rows.append(f"| `{name}` | {type_name(name, kinds[attribute])} | {missing} |")
    return "\n".join(rows) + "\n"


def shown_default(value: Any) -> str:
    """Return a default as a reader sees it."""
    if value is None:
        return "none"
    if isinstance(value, bytes):
        return "0"
    if isinstance(value, Record):
        return "nothing said"
    if isinstance(value, list):
        return "empty"
    return str(value).lower()


def type_name(name: str, kind: Any) -> str:
    """Return a type in words."""
    shape = Shape(name, kind)
    if shape.is_list:
        high = limit_of(kind)
        return f"up to {high} × {type_name(name, shape.item)}" if high else "list"
    if shape.extras.get("kinds"):
        return " or ".join(f"`{PREFIX[Kind(k)]}1…`" for k in sorted(shape.extras["kinds"]))
    if shape.choices:
        return "one of " + ", ".join(f"`{choice}`" for choice in shape.choices)
    words = {
        "amount": shape.extras.get("amount"),
        "denomination": shape.extras.get("denom"),
        f"blob, {shape.extras.get('blob', 0):,} bytes".replace(",", " "): shape.bare is Blob,
        f"text, {shape.extras.get('text', 0)} bytes": shape.extras.get("text"),
        "32 bytes": shape.is_hash,
        "bytes": shape.bare is bytes,
        "true or false": shape.bare is bool,
        "share, 1e-8": shape.is_share,
        "duration, ms": shape.is_duration,
        "Unix ms": shape.is_time,
        "integer": shape.bare is int,
        record_name(shape.bare) if shape.is_record() else "": shape.is_record(),
    }
    return next(word for word, holds in words.items() if holds)


def record_name(record: type[Record]) -> str:
    """Return a record as an object of its fields."""
    return f"object {{{', '.join(json_names(record))}}}"


def limit_of(kind: Any) -> int | None:
    """Return the longest list of a type."""
    inner = optional_of(split_annotation(kind)[0])
    for candidate in (kind, inner):
        while hasattr(candidate, "__metadata__"):
            for meta in candidate.__metadata__:
                if isinstance(meta, msgspec.Meta) and meta.max_length is not None:
                    return meta.max_length
            candidate = get_args(candidate)[0]
    return None


def queries(family: str) -> str:
    """Return the table of a family's queries."""
    rows = ["| query | answer |", "|---|---|"]
    for module in MODULES:
        for verb, query in module.queries.items():
            method = verb if "." in verb else f"{module.name}.{verb}"
            if method.split(".")[0] != family:
                continue
            hints = inspect.signature(query).parameters.values()
            names = [
                entry.name.rstrip("_") + ("" if entry.default is inspect.Parameter.empty else "?")
                for entry in hints
                if entry.kind is inspect.Parameter.KEYWORD_ONLY
            ]
            rows.append(f"| `{method} {{{', '.join(names)}}}` | {sentence(query.__doc__)} |")
    return "\n".join(rows)


def commands(_: str) -> str:
    """Return the table of all commands, with what each is for."""
    rows = ["| command | what it does |", "|---|---|"]
    context = click.Context(app, info_name="colophon")
    for name in app.list_commands(context):
        try:
            found = app.get_command(context, name)
        except ModuleNotFoundError:
            continue
        if found is not None:
            rows += command_rows(found, name, click.Context(found, parent=context, info_name=name))
    return "\n".join(rows)


def command_rows(command: click.Command, path: str, context: click.Context) -> list[str]:
    """Return the rows of a command and of what is below it."""
    if not isinstance(command, click.Group):
        places = [
            param.make_metavar(context)
            for param in command.params
            if isinstance(param, click.Argument)
        ]
        usage = " ".join([path, *(place for place in places if place != "[NOTHING]")])
        return [f"| `{usage.replace('|', '/')}` | {sentence(command.help)} |"]
    rows = []
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        if below is not None:
            inner = click.Context(below, parent=context, info_name=name)
            rows += command_rows(below, f"{path} {name}", inner)
    return rows


def names(_: str) -> str:
    """Return the table of public names."""
    homes = importlib.import_module("colophon")._HOMES
    rows = ["| name | what it is |", "|---|---|"]
    for name, home in sorted(homes.items()):
        try:
            value = getattr(importlib.import_module(home), name)
        except ModuleNotFoundError:
            continue
        rows.append(f"| `{name}` | {sentence(value.__doc__)} |")
    return "\n".join(rows)


def otel(_: str) -> str:
    """Return the table of short names."""
    rows = ["| short name | field of the record |", "|---|---|"]
    return "\n".join(rows + [f"| `{short}` | `{name}` |" for short, name in FIELD_NAMES.items()])


TABLES = {
    "messages": messages,
    "fields": fields,
    "queries": queries,
    "commands": commands,
    "names": names,
    "otel": otel,
}


def generated(text: str) -> str:
    """Return a page with its tables made anew."""
    return MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]](found[3])}\n{found[4]}", text)


def main() -> None:
    """Rewrite every page that has markers."""
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        fresh = generated(text)
        if fresh != text:
            path.write_text(fresh, encoding="utf-8")
            print(f"wrote {path}")  # noqa: T201 - a tool speaks to whoever runs it


if __name__ == "__main__":
    main()
