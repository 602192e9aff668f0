"""``colophon demo``: the main job on real input, told as a story."""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path

import click

from .output import Session


@click.command("demo")
@click.option("--exit", "leave", is_flag=True, help="End after the story instead of at Ctrl-C.")
@click.option(
    "--validators",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="How many, each a process of its own.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help="Where the network lives; default: a new temporary directory.",
)
@click.pass_obj
def command(session: Session, leave: bool, validators: int, directory: Path | None) -> None:
    """Play the whole story on a fresh local network.

    A dataset is registered and licensed, a model derived from it, real interactions anchored,
    the model paid, royalties claimed, one interaction proved offline, and the nodes compared.
    """
    from colophon.demo.narrator import Narrator
    from colophon.demo.story import Story
    from colophon.testnet.network import new_network

    begun = time.monotonic()
    # As Ctrl-C: no node may outlive the demo.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    say = Narrator(quiet=session.json)
    with tempfile.TemporaryDirectory(prefix="colophon-demo-") as temporary:
        root = directory or Path(temporary) / "network"
        with new_network(root, validators) as network, network.client() as client:
            status = client.call("chain.status")
            say.title(f"Colophon {status['version']}: a network of {status['validators']} "
                      f"validator{'s' if validators > 1 else ''} runs at {client.url}")  # fmt: skip
            say.step(f"finalising {time.monotonic() - begun:.1f} s after the command, "
                     f"in {network.layout.root}")  # fmt: skip
            result = Story(client, say, network).play()
            if session.json:
                session.show({"rpc": client.url, **result})
            if leave:
                say.close("Everything above happened on a real chain, which ends now.")
                return
            say.close(f"Look around: {client.url} in a browser. Ctrl-C ends the network.")
            try:
                for ended in network.watch():
                    say.step(f"node {ended.index} ended: {ended.last_line}")
            except KeyboardInterrupt:
                say.close("Stopped.")
