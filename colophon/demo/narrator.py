"""How the demo speaks: chapters, steps and tables, on a terminal or into a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from chain.types import COLO


class Narrator:
    """Prints the story; keeps silent for programs."""

    def __init__(self, *, quiet: bool) -> None:
        width = None if sys.stdout.isatty() else 100
        self._console = Console(width=width, highlight=False, quiet=quiet)
        self._chapter = 0

    def title(self, text: str) -> None:
        """Open the story."""
        self._console.print(f"\n[bold]{text}[/bold]")

    def chapter(self, text: str) -> None:
        """Begin a chapter."""
        self._chapter += 1
        self._console.print(f"\n[bold cyan]{self._chapter}. {text}[/bold cyan]")

    def step(self, text: str, detail: str = "") -> None:
        """Tell one thing that happened."""
        tail = f"  [dim]{detail}[/dim]" if detail else ""
        self._console.print(f"   {text}{tail}", soft_wrap=True)

    def plain(self, text: str) -> None:
        """Print lines of another program as they are."""
        for line in text.rstrip().splitlines():
            self._console.print(f"   │ {line}", markup=False, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table."""
        table = Table(header_style="bold", box=None, pad_edge=False)
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self._console.print()
        self._console.print(table)

    def close(self, text: str) -> None:
        """End the story."""
        self._console.print(f"\n{text}", soft_wrap=True)


def colo(ncolo: int) -> str:
    """Return an amount as people read it."""
    return f"{ncolo / COLO:,.2f} COLO"


def short(text: str) -> str:
    """Return an id as people recognise it: its beginning and its end."""
    return text if len(text) <= 20 else f"{text[:10]}…{text[-6:]}"
