"""How commands speak: tables for people, JSON for programs, one sentence when they fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

DEFAULT_HOME = "~/.colophon"
DEFAULT_NODE = "http://127.0.0.1:26657"


class Session:
    """What the global options said."""

    def __init__(self, home: str, node: str | None, json_output: bool) -> None:
        self.home_path = Path(home).expanduser()
        self.node = node
        self.json = json_output

    def node_url(self) -> str:
        """Return --node, else the node running in the home, else the default address."""
        from colophon.home import Home, running_at

        if self.node is not None:
            return self.node
        running = running_at(Home(self.home_path))
        return str(running["rpc"]) if running is not None else DEFAULT_NODE

    def show(self, value: Any, human: str | None = None) -> None:
        """Print a result: JSON with ``--json``, else ``human`` or an aligned listing."""
        if self.json:
            click.echo(json.dumps(value, indent=2))
        elif human is not None:
            click.echo(human)
        else:
            print_value(value)

    def note(self, text: str) -> None:
        """Print a remark for people, on the error stream, never with ``--json``."""
        if not self.json:
            click.echo(text, err=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], value: Any) -> None:
        """Print rows as a table for people, ``value`` as JSON for programs."""
        if self.json:
            click.echo(json.dumps(value, indent=2))
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(str(cell) for cell in row))
        width = None if sys.stdout.isatty() else 160
        Console(width=width, highlight=False).print(table)


def print_value(value: Any, indent: int = 0) -> None:
    """Print JSON-like values as aligned lines."""
    pad = " " * indent
    if isinstance(value, dict):
        width = max((len(key) for key in value), default=0)
        for key, item in value.items():
            if isinstance(item, dict | list) and item:
                click.echo(f"{pad}{key}")
                print_value(item, indent + 2)
            else:
                click.echo(f"{pad}{key:<{width}}  {_scalar(item)}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            if number and isinstance(item, dict):
                click.echo()
            print_value(item, indent)
    else:
        click.echo(f"{pad}{_scalar(value)}")


def _scalar(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
