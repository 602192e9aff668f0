"""``colophon``: the entry point, its groups, and how every failure becomes one sentence."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from chain.errors import ColophonError, Rejected

from .output import DEFAULT_HOME, Session

GROUPS = {
    "testnet": "colophon.cli.testnet",
    "demo": "colophon.cli.demo",
    "genesis": "colophon.cli.genesis",
    "node": "colophon.cli.node",
    "key": "colophon.cli.key",
    "tx": "colophon.cli.tx",
    "query": "colophon.cli.query",
    "anchor": "colophon.cli.anchor",
    "verify": "colophon.cli.verify",
    "bench": "colophon.cli.bench",
    "completion": "colophon.cli.completion",
}
"""Command → the module that defines it; only the one asked for is imported."""

HELP = {
    "testnet": "Local networks: up (four validators), dev (one, with time travel).",
    "demo": "Play the whole story on a fresh local network.",
    "genesis": "Make the document a network begins with.",
    "node": "Make, run, inspect and check a node.",
    "key": "Account keys: encrypted, recoverable from 24 words.",
    "tx": "Send transactions: one subcommand per message.",
    "query": "Ask a node.",
    "anchor": "Anchor AI interactions in bulk; export and verify bundles.",
    "verify": "Verify an exported bundle offline.",
    "bench": "Measure this machine against its own limit.",
    "completion": "Print the shell completion script.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used: start-up stays under 150 ms."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of their groups."""
        return list(GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in GROUPS:
            return None
        command: click.Command = importlib.import_module(GROUPS[cmd_name]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(HELP.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home",
    default=DEFAULT_HOME,
    envvar="COLOPHON_HOME",
    show_default=True,
    help="Directory of the node and its keys.",
)
@click.option(
    "--node",
    default=None,
    envvar="COLOPHON_NODE",
    help="RPC address of a node; default: the one running in --home, else port 26657.",
)
@click.option("--json", "json_output", is_flag=True, help="Print JSON, for programs.")
@click.version_option(package_name="colophon", message="%(version)s")
@click.pass_context
def app(ctx: click.Context, home: str, node: str | None, json_output: bool) -> None:
    """Colophon: a blockchain node for AI-native assets.

    Who owns what an AI makes, from what was it made, who may use it, and who gets paid?
    Begin with `colophon demo` or `colophon testnet up`.
    """
    ctx.obj = Session(home, node, json_output)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit codes: 0 ok, 1 refused or failed, 2 wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    json_output = "--json" in given
    # --json is accepted before and after a command.
    given = (["--json"] if json_output else []) + [item for item in given if item != "--json"]
    try:
        status = app.main(args=given, prog_name="colophon", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(1)
    except click.UsageError as error:
        _fail(json_output, 2, "usage", error.format_message(), error.ctx)
    except click.ClickException as error:
        _fail(json_output, 1, "failed", error.format_message(), None)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except ColophonError as error:
        _fail(json_output, 1, *_explain(error), None)
    except OSError as error:
        said = json_output and error.filename is not None  # else it is the output that is full
        _fail(said, 1, *_explain(_of_a_file(error)), None)
    if isinstance(status, int) and status:
        sys.exit(status)  # click returns the status of help that was shown for lack of a command


def _explain(error: ColophonError) -> tuple[str, str]:
    """Return code and sentence of an error of ours."""
    if isinstance(error, Rejected):
        return error.code, error.message
    reason: Any = getattr(error, "reason", "") or getattr(error, "code", "") or "failed"
    return str(reason), str(getattr(error, "message", error))


def _of_a_file(error: OSError) -> ColophonError:
    """Return what to say where the system refused a file; what is of no file is a bug of ours."""
    from state.disk_fault import BLAMED, refusal_of

    is_named = isinstance(error.filename, str | bytes)
    if not is_named and error.errno not in BLAMED:
        raise error
    path = Path(os.fsdecode(error.filename) if is_named else "what is written")
    return refusal_of(path, "file/Refused", error)


def _fail(
    json_output: bool, status: int, code: str, message: str, ctx: click.Context | None
) -> None:
    if json_output:
        click.echo(json.dumps({"error": {"code": code, "message": message}}))
    else:
        if ctx is not None:
            click.echo(ctx.get_usage(), err=True)
        click.echo(f"error: {message}" + ("" if code in ("usage", "failed") else f" [{code}]"),
                   err=True)  # fmt: skip
    sys.exit(status)
