"""``colophon completion``: the script that makes the shell complete commands."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script: add `eval "$(colophon completion bash)"` to your profile."""
    from click.shell_completion import get_completion_class

    from .main import app

    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"no completion for {shell}")
    click.echo(kind(app, {}, "colophon", "_COLOPHON_COMPLETE").source())
