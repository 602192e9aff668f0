"""A fixed history that uses every message of every family, for golden vectors.

Run as ``python -m tests.vector_chain`` it prints the vectors of today's code; they are frozen in
``tests/vectors/chain.json`` and change only with a decision record.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from chain.anchored import Writer
from chain.codec import encode, encode_amount
from chain.crypto import SigningKey
from chain.fields import Blob
from chain.hashing import TAGS, tagged_hash
from chain.ids import Kind, address_of, format_id
from chain.merkle import list_root
from chain.record import Facets
from chain.transaction import ENVELOPE, blob_hash, sign_body, transaction_id
from state.families import REGISTRY
from state.modules.account import KeyWeight, RequireAcceptance, SetKeys
from state.modules.anchor import messages as am
from state.modules.bank import MultiSend, Output, Send
from state.modules.ip import messages as im
from state.modules.ip.asset import (
    Creator,
    HashAlg,
    IpKind,
    Media,
    Relation,
    Rights,
    Scope,
    Training,
    Use,
)
from state.modules.ip.precommits import commitment_of
from state.modules.license import messages as lm
from state.modules.license import rows as license_rows
from state.modules.license.terms import FLAVOURS
from state.modules.royalty import messages as rm
from tests.state.ledger import START_MS, key_of
from tests.state.modules.lineages import REMIX, Lineages
from tests.state.root_checker import state_root

AMOUNT = encode_amount
SALT = b"\x5a" * 16


class Recorder(Lineages):
    """A ledger that writes down what every transaction was and did."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []

    def send(self, who: int, *messages: Any, **changes: Any) -> Any:
        body = self.body(who, messages, **changes)
        envelope = ENVELOPE.decode(sign_body(body, [self.keys[who]], []))
        tx_id = transaction_id(envelope.body, envelope.signatures)
        receipt = super().send(who, *messages, **changes)
        self.rows.append(
            {
                "messages": [str(message.__struct_config__.tag) for message in messages],
                "body": envelope.body.hex(),
                "signature": envelope.signatures[0].hex(),
                "tx_id": tx_id.hex(),
                "receipt": encode(receipt).hex(),
                "state_root": state_root(self.state.rows.items()).hex(),
            }
        )
        return receipt


def blob(content: bytes) -> Blob:
    """Return a blob with a fixed salt."""
    return Blob(blob_hash(SALT, content), len(content))


def play() -> Recorder:
    """Play the history."""
    net = Recorder()
    terms = license_rows.terms_id_of(REMIX)
    _assets(net, terms)
    _licences(net, terms)
    _anchors(net)
    _accounts(net)
    return net


def _assets(net: Recorder, terms: bytes) -> None:
    content = b"\x11" * 32
    commitment = commitment_of(net.hash, net.addresses[0], IpKind.MODEL, content, bytes(32))
    net.ok(0, im.Precommit(commitment))
    creator = Creator(net.addresses[1], None, blob(b"author"), 100_000_000)
    first = net.next_id(Kind.IP, 0)
    media = Media("text/plain", 7, HashAlg.SHA256)
    title = blob("Modèle".encode())
    asset = im.Register(
        IpKind.MODEL, content, salt=bytes(32), title=title, creators=[creator], media=media
    )
    net.ok(0, asset)
    second = net.ip(1)
    net.ok(1, im.AcceptCredit(first, 0))
    net.ok(0, im.SetRights(first, Rights(Training(ai_training=Use.NOT_ALLOWED))))
    net.ok(0, im.UpdateMetadata(first, blob(b"{}"), b"\x22" * 32))
    net.ok(0, im.SetUpdater(first, net.addresses[2], Scope.BOTH, START_MS * 2))
    net.ok(0, im.FreezeMetadata(first))
    net.ok(0, im.Relate(first, Relation.BASED_ON, second))
    net.ok(1, im.AcceptRelation(first, Relation.BASED_ON, second))
    net.ok(0, im.RemoveRelation(first, Relation.BASED_ON, second))
    net.ok(2, RequireAcceptance(True))
    net.ok(1, im.Transfer(second, net.addresses[2]))
    net.ok(1, im.WithdrawTransfer(second))
    net.ok(1, im.Transfer(second, net.addresses[2]))
    net.ok(2, im.AcceptTransfer(second))
    net.ok(2, im.Execute(second, net.encoded(Send(net.addresses[3], second, AMOUNT(30)))))
    net.refused(3, im.Transfer(second, net.addresses[3]))
    net.offer(first, terms)


def _licences(net: Recorder, terms: bytes) -> None:
    parent = net.ip(0)
    asking = net.terms(fee=100, derivatives_approval=True)
    net.offer(parent, asking)
    net.ok(0, lm.Configure(parent, asking, lm.Config(AMOUNT(150), 20_000_000, False)))
    lot = net.next_id(Kind.LOT, 1)
    net.ok(1, lm.Mint(parent, asking, 3, net.addresses[1], AMOUNT(450), 20_000_000))
    net.ok(1, lm.Transfer(lot, net.addresses[3], 1))
    net.ok(3, lm.Burn(lot, 1))
    child = net.ip(1)
    net.ok(0, lm.ApproveDerivative(parent, asking, child, True))
    net.ok(1, lm.RegisterDerivative(child, [lm.Parent(parent, None, lot)], AMOUNT(0), 20_000_000))
    net.ok(1, rm.Accept(child, [b""]))
    net.ok(4, rm.Pay(child, b"", AMOUNT(1_007), None, b"\x33" * 32))
    net.ok(0, rm.Claim(parent, [b""], [child], []))
    net.refused(0, rm.Claim(parent, [b""], [child], []))


def _anchors(net: Recorder) -> None:
    log = net.next_id(Kind.LOG, 0)
    writer = Writer(net.addresses[1], net.keys[1].public_key)
    net.ok(0, am.OpenLog("gen-ai/1", [writer], 86_400_000, 60_000))
    now = net.now_ms
    net.ok(1, am.Append(log, 0, 0, 3, b"\x44" * 32, now - 5, now))
    net.ok(0, am.UpdateLog(log, owner=net.addresses[2]))
    net.ok(2, am.CloseLog(log))
    net.ok(0, am.RecordInteraction(b"\x55" * 32, 4, Facets(language="en"), [b"\x66" * 32]))


def _accounts(net: Recorder) -> None:
    net.ok(3, Send(net.addresses[4], b"", AMOUNT(2**33)))
    net.refused(3, Send(net.addresses[3], b"", AMOUNT(1)))
    outputs = [(net.addresses[0], 1), (net.addresses[1], 2**40)]
    net.ok(3, MultiSend([Output(to, b"", AMOUNT(amount)) for to, amount in outputs]))
    keys = sorted(key_of(number).public_key for number in (60, 61))
    net.ok(4, SetKeys([KeyWeight(key, 1) for key in keys], 2))


def primitives() -> dict[str, Any]:
    """Return the small things everything else is made of."""
    key = SigningKey(bytes(range(32)))
    address = address_of(key.public_key)
    return {
        "tags": {tag: tagged_hash(tag, b"colophon").hex() for tag in TAGS},
        "address": {"public_key": key.public_key.hex(), "id": address.hex(),
                    "text": format_id(address)},
        "blob": {"salt": SALT.hex(), "content": "6869", "hash": blob_hash(SALT, b"hi").hex()},
        "list_roots": [list_root([bytes([n])] * n).hex() for n in range(6)],
        "flavours": [format_id(license_rows.terms_id_of(terms)) for terms in FLAVOURS],
    }  # fmt: skip


def names() -> dict[str, list[str]]:
    """Return the permanent names of messages and events."""
    return {"messages": sorted(REGISTRY.messages), "events": sorted(REGISTRY.events)}


def vectors() -> dict[str, Any]:
    """Return everything that is frozen."""
    net = play()
    return {
        "genesis": encode(net.genesis).hex(),
        "genesis_hash": net.hash.hex(),
        "primitives": primitives(),
        "names": names(),
        "transactions": net.rows,
    }


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1)
    sys.stdout.write("\n")
