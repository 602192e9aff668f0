"""``colophon demo``: the main job on real input, told as a story."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from .output import Session


@click.command("demo")
@click.option("--exit", "leave", is_flag=True, help="End after the story instead of at Ctrl-C.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help="Where the network lives; default: a new temporary directory.",
)
@click.pass_obj
def command(session: Session, leave: bool, directory: Path | None) -> None:
    """Play the whole story on a fresh local network.

    A dataset is registered and licensed, a model derived from it, real interactions anchored,
    the model paid, royalties claimed, and one interaction proved offline.
    """
    from colophon.demo.narrator import Narrator
    from colophon.demo.stage import Stage
    from colophon.demo.story import Story

    say = Narrator(quiet=session.json)
    with tempfile.TemporaryDirectory(prefix="colophon-demo-") as temporary:
        root = directory or Path(temporary) / "network"
        with Stage(root) as stage, stage.client() as client:
            status = client.call("chain.status")
            say.title(f"Colophon {status['version']}: a network of {status['validators']} "
                      f"validator runs at {stage.url}")  # fmt: skip
            result = Story(client, say, root).play()
            if session.json:
                session.show({"rpc": stage.url, **result})
            if leave:
                say.close("Everything above happened on a real chain, which ends now.")
                return
            say.close(f"Look around: {stage.url} in a browser. Ctrl-C ends the network.")
            try:
                stage.wait()
            except KeyboardInterrupt:
                say.close("Stopped.")
