"""Parameters for examples, taken from the chain itself: what ``rpc.discover`` shows can be called.

Names and types of parameters say what is needed; the newest receipts have it. Where the chain
has none yet, a well-formed value stands in, and the call answers "not found".
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, get_args, get_origin

import msgspec

from chain.codec import Record, encode
from chain.errors import Rejected
from chain.fields import (
    Blob,
    fields_of,
    json_names,
    members_of,
    optional_of,
    split_annotation,
)
from chain.ids import Kind, format_id
from chain.json_form import defaults_of, from_json, record_to_json, to_json
from chain.transaction import Envelope
from state.modules.account import ACCOUNTS
from state.queries import ChainReader
from state.registry import Transaction

from .methods import Method, Param

BLOCKS_LOOKED_AT = 50
TRANSACTIONS_LOOKED_AT = 200
"""How far back samples are looked for; ``rpc.discover`` costs a few milliseconds with it."""

ALSO = {
    "anchor.records": ("actor",),
    "chain.blocks": ("from", "to"),
    "events.subscribe": ("filter",),
    "tx.simulate": ("body",),
}
"""Optional parameters that an example gives besides the required ones."""


class Samples:
    """Values of this chain, by the names of the fields they stand in and by kind of id."""

    def __init__(self, reader: ChainReader) -> None:
        self._named: dict[str, list[Any]] = {
            "txs": [], "filter": [{"module": "ip"}], "from": [1], "to": [2],
            "subscription": ["1"], "duration_ms": [60_000],
        }  # fmt: skip
        self._ids: dict[int, bytes] = {}
        self._unproven: list[str] = []
        # Transactions of the newest block: what they did cannot be proved before the next one.
        self._reader = reader
        self._look_back()
        account = self._ids.get(Kind.ACCOUNT, bytes(21))
        self._name("module", "account")
        self._name("key", "0x" + (ACCOUNTS.prefix + account).hex())

    def _look_back(self) -> None:
        head = self._reader.machine.head.height
        left = TRANSACTIONS_LOOKED_AT
        for height in range(head, max(head - BLOCKS_LOOKED_AT, 0), -1):
            receipts = self._reader.receipts(height)[:left]
            for index in range(len(receipts) - 1, -1, -1):
                for event in receipts[index].events:
                    self._learn(event)
                self._learn_transaction(height, index)
            left -= len(receipts)
            if left <= 0:
                break
        self._named.setdefault("id", []).extend(self._unproven)

    def _learn(self, event: Record) -> None:
        """Remember ids and hashes of an event under their field's name, the newest first."""
        kinds = fields_of(type(event))
        for name, attribute in json_names(type(event)).items():
            value = getattr(event, attribute)
            _, extras = split_annotation(kinds[attribute])
            if isinstance(value, bytes):
                self._name(name, to_json(kinds[attribute], value))
                self._name(name.rpartition("_")[2], to_json(kinds[attribute], value))
                if extras.get("kinds"):
                    self._ids.setdefault(value[0], value)

    def _learn_transaction(self, height: int, index: int) -> None:
        signed = self._reader.signed_body(height, index)
        tx: Transaction = self._reader.machine.read_transaction(signed)
        self._ids.setdefault(Kind.ACCOUNT, tx.body.sender)
        self._name("sender", format_id(tx.body.sender))
        for message in tx.body.messages:
            self._name("message", record_to_json(message))
        if height < self._reader.machine.head.height:
            self._name("id", "0x" + tx.id.hex())
        else:
            self._unproven.append("0x" + tx.id.hex())
        self._name("body", "0x" + tx.raw_body.hex())
        if not tx.blobs:
            envelope = "0x" + encode(Envelope(signed.body, signed.signatures, [])).hex()
            self._name("tx", envelope)
            self._name("txs", [envelope])

    def _name(self, name: str, value: Any) -> None:
        self._named.setdefault(name, []).append(value)

    def params(self, method: Method) -> list[dict[str, Any]]:
        """Return the parameters of every example of a method."""
        if method.examples:
            return list(method.examples)
        also = ALSO.get(method.name, ())
        wanted = {
            name: param for name, param in method.params.items() if param.required or name in also
        }
        return [{name: self._value(name, param) for name, param in wanted.items()}]

    def _value(self, name: str, param: Param) -> Any:
        for candidate in self._named.get(name, ()):
            if _fits(param, candidate, name):
                return candidate
        return self._of_kind(param.kind)

    def _of_kind(self, kind: Any) -> Any:
        """Return a well-formed JSON value of a type."""
        bare, extras = split_annotation(kind)
        inner = optional_of(bare)
        if inner is not None:
            return self._of_kind(Annotated[inner, msgspec.Meta(extra=extras)])
        if extras.get("kinds"):
            kinds = sorted(extras["kinds"])
            known = [self._ids[number] for number in kinds if number in self._ids]
            return format_id(known[0] if known else bytes((kinds[0],)) + bytes(20))
        if extras.get("id"):
            return format_id(self._ids.get(Kind.IP, bytes(21)))
        for extra, value in (("denom", "ncolo"), ("amount", "1000000")):
            if extras.get(extra):
                return value
        if get_origin(bare) is list:
            return [self._of_kind(get_args(bare)[0])]
        return self._plain(bare, kind)

    def _plain(self, bare: Any, kind: Any) -> Any:
        if bare is bool:
            return False
        if bare is int:
            return max((meta.ge or 0 for meta in _metas(kind)), default=0)
        if bare is str:
            return "text"
        if bare is bytes:
            return "0x" + "00" * max((meta.min_length or 0 for meta in _metas(kind)), default=0)
        if bare is Blob:
            return {"hash": "0x" + "00" * 32, "length": 0}
        if isinstance(bare, type) and issubclass(bare, IntEnum):
            return next(iter(bare)).name.lower()
        members = members_of(bare)
        if members:
            name, member = next(iter(members.items()))
            return {"type": name, **self._of_kind(member)}
        if isinstance(bare, type) and issubclass(bare, Record):
            kinds, defaults = fields_of(bare), defaults_of(bare)
            return {
                name: self._of_kind(kinds[attribute])
                for name, attribute in json_names(bare).items()
                if attribute not in defaults
            }
        return None


def _metas(kind: Any) -> list[msgspec.Meta]:
    """Return the annotations of a type."""
    found: list[msgspec.Meta] = []
    while get_origin(kind) is Annotated:
        kind, *metas = get_args(kind)
        found += [meta for meta in metas if isinstance(meta, msgspec.Meta)]
    return found


def _fits(param: Param, candidate: Any, name: str) -> bool:
    try:
        param.check(from_json(param.kind, candidate, name), name)
    except Rejected:
        return False
    return True
