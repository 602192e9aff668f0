"""The story of the demo: one dataset, one model, its interactions, and who gets paid.

Every chapter is a few calls of the public client; nothing here has a door that users lack.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from chain.bundle_json import write_bundle
from chain.types import COLO
from colophon.client import Client
from colophon.export import export_bundle_flow
from colophon.home import new_key
from colophon.receipts import find_receipt
from colophon.testnet.network import Network
from colophon.testnet.process import wait_until
from colophon.testnet.status import Common, compare
from colophon.wallet import Wallet

from .narrator import Narrator, colo, short

SHARE = 10_000_000
"""The dataset's share of what a model made from it earns: 10 %."""
LICENSE_FEE = 25 * COLO
PAYMENT = 4 * COLO
PAYMENTS = 5
PURSE = 1_000 * COLO
CATCH_UP_S = 30
"""By then every validator has the story's last block, and one above it."""
REVEALED = ("prompt", "output", "gen_ai.request.model")


@dataclass(slots=True)
class Story:
    """What has happened so far; the chapters fill it."""

    client: Client
    say: Narrator
    network: Network
    who: dict[str, Wallet] = field(default_factory=dict)
    interactions: list[dict[str, Any]] = field(default_factory=list)
    dataset: str = ""
    model: str = ""
    terms: str = ""
    log: str = ""
    bundle: Path | None = None
    claimed: dict[str, int] = field(default_factory=dict)
    common: Common | None = None

    @property
    def directory(self) -> Path:
        """Where the story leaves its files: beside the network's."""
        return self.network.layout.root

    def play(self) -> dict[str, Any]:
        """Play every chapter and return what became of it."""
        self.meet()
        self.register_dataset()
        self.derive_model()
        self.anchor_interactions()
        self.pay_model()
        self.let_royalties_flow()
        self.prove_offline()
        self.compare_nodes()
        return self.sum_up()

    # --- chapters -----------------------------------------------------------------------------

    def meet(self) -> None:
        """Make the accounts and give them money."""
        self.say.chapter("Four accounts, each with a key and some coins")
        for name in ("studio", "lab", "agent", "reader"):
            wallet = self.client.wallet(new_key())
            self.who[name] = wallet
            self.client.call("dev.faucet", address=wallet.address_text, amount=str(PURSE))
            self.say.step(f"{name:<7} {short(wallet.address_text)}", colo(PURSE))

    def register_dataset(self) -> None:
        """The studio registers its dataset and offers it under commercial remix terms."""
        self.say.chapter(
            "A dataset becomes intellectual property, and says what may be done with it"
        )
        raw = files("colophon.data").joinpath("interactions.jsonl").read_bytes()
        self.interactions = [json.loads(line) for line in raw.splitlines()]
        prompts = "\n".join(item["prompt"] for item in self.interactions).encode()
        self.terms = self._remix_terms()
        outcome = self.client.register(
            self.who["studio"],
            kind="dataset",
            content_hash="0x" + sha256(prompts).hexdigest(),
            media={"mime": "text/plain", "size": len(prompts), "hash_alg": "sha256"},
            title=f"{len(self.interactions)} instructions of AlpacaEval",
            rights={"training": {"ai_training": "allowed"}},
            terms=self.terms,
            config={"minting_fee": str(LICENSE_FEE)},
        )
        self.dataset = outcome.ids[0]
        self.say.step(f"registered  {short(self.dataset)}", f"final in block {outcome.height}")
        self.say.step(f"offered under {short(self.terms)}", "commercial remix, 10 % of revenue, "
                      f"{colo(LICENSE_FEE)} a licence")  # fmt: skip

    def _remix_terms(self) -> str:
        """Return the id of the third flavour every network begins with."""
        for view in self.client.call("license.list")["items"]:
            if int(view["number"]) == 3:
                terms: str = view["id"]
                return terms
        raise AssertionError("genesis registers four flavours")

    def derive_model(self) -> None:
        """The lab registers its model as made from the dataset, and pays for the licence."""
        self.say.chapter("A model is registered as derived from it; the licence is paid on the way")
        quote = self.client.call(
            "license.quote",
            sender=self.who["lab"].address_text,
            message={
                "type": "license.mint",
                "licensor": self.dataset,
                "terms": self.terms,
                "amount": 1,
                "receiver": self.who["lab"].address_text,
            },
        )
        outcome = self.client.register_derivative(
            self.who["lab"],
            kind="model",
            content_hash="0x" + sha256(b"phi-2 weights, demonstration").hexdigest(),
            title="phi-2",
            parents=[{"ip": self.dataset, "terms": self.terms}],
            max_minting_fee=int(quote["fee"]),
        )
        self.model = outcome.ids[0]
        self.say.step(f"registered  {short(self.model)}", f"final in block {outcome.height}")
        self.say.step(f"linked to   {short(self.dataset)}", f"paid {colo(int(quote['fee']))}")

    def anchor_interactions(self) -> None:
        """The lab's agent records real interactions and anchors them in one message."""
        self.say.chapter("The model answers; every interaction is anchored, none is published")
        agent = self.who["agent"]
        opened = self.client.open_log(agent, schema="gen-ai/1")
        self.log = opened.ids[0]
        receipts = self.directory / "receipts"
        with self.client.recorder(self.log, agent, receipts) as recorder:
            for item in self.interactions:
                recorder.record(prompt=item["prompt"], output=item["output"], model=item["model"])
            places = recorder.flush()
        first = self.interactions[0]
        self.say.step(f"“{_clip(first['prompt'])}”")
        self.say.step(f"“{_clip(first['output'])}”", f"{first['model']}, and "
                      f"{len(self.interactions) - 1} more")  # fmt: skip
        self.say.step(f"anchored in {short(self.log)}",
                      f"{len(places)} message, 32 bytes of root on chain")  # fmt: skip

    def pay_model(self) -> None:
        """A reader pays the model for its answers."""
        self.say.chapter("The model is paid")
        for number in range(PAYMENTS):
            self.client.pay(self.who["reader"], self.model, PAYMENT)
            if number == 0:
                self.say.step(f"reader → {short(self.model)}", colo(PAYMENT))
        self.say.step(f"and {PAYMENTS - 1} times more", f"{colo(PAYMENTS * PAYMENT)} in all")

    def let_royalties_flow(self) -> None:
        """Each owner claims; the dataset's part comes up the lineage."""
        self.say.chapter("Royalties flow up the lineage, to the last unit")
        for view in self.client.call("royalty.flows", ip=self.model)["items"]:
            name = self._name(view["receiver"])
            share = int(view["share"]) / 10**6
            self.say.step(f"{name:<7} {share:5.1f} %", colo(int(view["entitled"])))
        for owner, ip in (("lab", self.model), ("studio", self.dataset)):
            self.claimed[owner] = sum(
                int(event["amount"])
                for outcome in self.client.claim_all(self.who[owner], ip)
                for event in outcome.events
                if event["type"] == "royalty.claimed"
            )
            self.say.step(f"{owner} claims for {short(ip)}", colo(self.claimed[owner]))

    def prove_offline(self) -> None:
        """One interaction is exported and verified by a process that knows no node."""
        self.say.chapter("One interaction is proved to somebody who trusts nobody")
        receipt = find_receipt(self.directory / "receipts", 0)
        bundle = self.client.run(export_bundle_flow(receipt, REVEALED))
        self.bundle = self.directory / "bundle.json"
        self.bundle.write_bytes(write_bundle(bundle))
        size = self.bundle.stat().st_size
        self.say.step(f"exported {self.bundle}", f"{size:,} bytes")
        genesis = str(self.directory / "genesis.json")
        command = [sys.executable, "-m", "colophon", "verify", str(self.bundle),
                   "--genesis", genesis]  # fmt: skip
        checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.say.plain(checked.stdout or checked.stderr)
        if checked.returncode != 0:
            raise AssertionError("the exported bundle does not verify")

    def compare_nodes(self) -> None:
        """Every validator is asked for the block and the state after all that."""
        self.say.chapter("Every validator has the same block and the same state")
        last = int(self.client.call("chain.status")["height"])
        common = wait_until(lambda: self._common_above(last), time.monotonic() + CATCH_UP_S)
        if common is None or len(common.blocks) < len(self.network.nodes):
            raise AssertionError(f"not every node got beyond block {last}")
        for index, (block_id, state_root) in common.blocks.items():
            self.say.step(f"node {index}  height {common.height}  block {short(block_id)}  "
                          f"state root {short(state_root)}")  # fmt: skip
        if not common.agree:
            raise AssertionError("the nodes do not agree")
        self.common = common

    def _common_above(self, height: int) -> Common | None:
        common = compare(self.network.status())
        return common if common is not None and common.height >= height else None

    # --- the end ------------------------------------------------------------------------------

    def _name(self, ip: str) -> str:
        return {self.dataset: "dataset", self.model: "model"}.get(ip, short(ip))

    def sum_up(self) -> dict[str, Any]:
        """Tell who owns what and who earned what."""
        rows, result = [], []
        for name, ip in (("dataset", self.dataset), ("model", self.model)):
            view = self.client.call("ip.get", ip=ip)
            royalty = self.client.call("royalty.get", ip=ip)
            vault = royalty["vaults"][0]
            owner = next(
                who for who, wallet in self.who.items() if wallet.address_text == view["owner"]
            )
            earned = int(vault["accrued"])
            rows.append(
                (f"{name} {short(ip)}", owner, colo(int(vault["received"])),
                 colo(int(vault["inflow"])), colo(int(vault["outflow"])), colo(earned))
            )  # fmt: skip
            result.append({"ip": ip, "kind": name, "owner": owner, "earned": str(earned)})
        columns = ("who owns what", "owner", "paid to it", "from below", "passed up", "earned")
        self.say.table(columns, rows)
        return {
            "assets": result, "log": self.log, "bundle": str(self.bundle),
            "agreed": None if self.common is None else self.common.form(),
        }  # fmt: skip


def _clip(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else line[:67] + "…"
