"""Everything derived from the tuple of native families: decoders, names, dispatch (T6).

Built once from ``MODULES``; holds no state of the chain.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from operator import or_
from typing import Any

import msgspec

from chain import fees
from chain.codec import Decoder
from chain.errors import Misuse, Rejected
from chain.fields import Blob, Check, Collect, blob_collector, checker
from chain.params import Params
from chain.transaction import (
    MESSAGES_MAX,
    TX_BYTES_MAX,
    VERSION,
    Body,
    counted_bytes,
    transaction_id,
)

from .module import Apply, Event, Indexer, Message, Module

NESTING_MAX = 8
"""How deep ``ip.execute`` may nest (T6); what lies deeper is reached in steps."""
NOT_NESTED = ("account.", "sponsor.", "staking.create_validator")
"""Messages refused inside ``ip.execute``: they act on the transaction's own account."""


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """A transaction that passed every check its bytes alone allow (T6)."""

    id: bytes
    raw_body: bytes
    signatures: list[bytes]
    body: Body[Any]
    units: int
    """Declared units (F1): what the block counts, the fee pays and the pool ranks by."""
    work: int
    """The part of F1 that is work; ``units`` is at least this."""
    bytes_units: int
    """The part of F1 that is bytes; ``units`` is at least this."""
    metered: int
    """Sum of ``max_units`` of all messages, nested ones included (F4)."""
    blobs: list[Blob]
    """Blob fields in order of first appearance, nested messages included."""


class _Tally:
    """What the messages of one transaction add up to."""

    __slots__ = ("blobs", "count", "metered", "units")

    def __init__(self) -> None:
        self.units = 0
        self.count = 0
        self.metered = 0
        self.blobs: list[Blob] = []


class _Traits(msgspec.Struct, frozen=True, gc=False):
    """What has to be known of a kind of message to inspect one."""

    check: Check | None
    collect: Collect | None
    nests: bool
    """It carries other messages."""


class Registry:
    """The active native families, ready to decode, price and dispatch their messages."""

    def __init__(self, modules: tuple[Module, ...]) -> None:
        self.modules = modules
        self.apply: dict[type[Message], Apply] = {}
        self.messages: dict[str, type[Message]] = {}
        self.events: dict[str, type[Event]] = {}
        for module in modules:
            self._add(module)
        union: Any = reduce(or_, self.messages.values())
        self.message = Decoder[Any](union, bytes_max=TX_BYTES_MAX, what="message")
        self.body = Decoder[Any](Body[union], bytes_max=TX_BYTES_MAX, what="transaction body")
        self.indexers: dict[type[Event], Indexer] = {
            event: module.index for module in modules if module.index for event in module.events
        }
        self.event_union: Any = reduce(or_, self.events.values())
        self._traits = {
            kind: _Traits(
                checker(kind),
                blob_collector(kind),
                "nested" in kind.__struct_fields__,
            )
            for kind in self.apply
        }

    def _add(self, module: Module) -> None:
        for kind, apply in module.messages.items():
            name = tag_of(kind)
            if name.split(".")[0] != module.name or name in self.messages:
                raise Misuse(f"message {name} does not belong to module {module.name}")
            self.messages[name] = kind
            self.apply[kind] = apply
        for event in module.events:
            self.events[tag_of(event)] = event

    def read(
        self,
        raw_body: bytes,
        signatures: list[bytes],
        genesis_hash: bytes,
        params: Params,
        *,
        tx_id: bytes | None = None,
    ) -> Transaction:
        """Decode and check a transaction as far as its bytes and the network decide (T6).

        ``params`` are the network's, for its price of bytes (F1). ``tx_id`` is the transaction's
        id, if the caller has made it from these bytes already.
        Raises ``Rejected`` with a ``codec/``, ``field/`` or ``tx/`` code. Signatures are not
        verified here, attachments not looked at.
        """
        body = self._decode_body(raw_body)
        if body.version != VERSION:
            raise Rejected("tx/Version", f"version {body.version}, this node knows {VERSION}")
        if body.genesis_hash != genesis_hash:
            raise Rejected(
                "tx/WrongNetwork",
                f"signed for network {body.genesis_hash.hex()}, this is {genesis_hash.hex()}",
            )
        if len(body.keys) > 1:
            _require_ascending(body.keys)
        if len(signatures) != len(body.keys):
            raise Rejected(
                "tx/SignatureCount",
                f"{len(signatures)} signatures for {len(body.keys)} keys, one for each expected",
            )
        if body.sender[0] != 0:
            raise Rejected("field/WrongKind", "sender is not an account", field="sender")
        _require_shortest(body.max_fee, "max_fee")
        _require_shortest(body.tip, "tip")
        if body.sponsor is not None:
            raise Rejected("tx/UnknownSponsor", "no such sponsor", field="sponsor")
        tally = self._inspect(body.messages)
        work = fees.envelope_units(len(raw_body), len(signatures)) + tally.units
        size = counted_bytes(raw_body, len(signatures), tally.blobs)
        bytes_units = fees.bytes_units(params, size)
        return Transaction(
            tx_id or transaction_id(raw_body, signatures),
            raw_body,
            signatures,
            body,
            max(work, bytes_units),
            work,
            bytes_units,
            tally.metered,
            tally.blobs,
        )

    def _decode_body(self, raw_body: bytes) -> Body[Any]:
        try:
            body: Body[Any] = self.body.decode(raw_body)
        except Rejected as refusal:
            unknown = self._unknown_message(raw_body)
            if refusal.code == "codec/Malformed" and unknown is not None:
                raise Rejected(
                    "tx/UnknownMessage", f"message {unknown!r} is not known", name=unknown
                ) from None
            raise
        return body

    def _unknown_message(self, raw_body: bytes) -> str | None:
        """Return the first unknown message name of a body that is otherwise well-formed."""
        try:
            body = _NAMES.decode(raw_body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None
        for raw in body.messages:
            try:
                name = _NAME.decode(bytes(raw))[0]
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, IndexError):
                return None
            if isinstance(name, str) and name not in self.messages:
                return name[:64]
        return None

    def _inspect(self, messages: list[Message]) -> _Tally:
        """Check every message, nested ones included, and add up what they declare."""
        tally = _Tally()
        for message in messages:
            self._inspect_one(message, 0, tally)
        if tally.count > MESSAGES_MAX:
            raise Rejected(
                "tx/TooManyMessages",
                f"{tally.count} messages, nested ones counted; at most {MESSAGES_MAX}",
                found=tally.count,
                limit=MESSAGES_MAX,
            )
        return tally

    def _inspect_one(self, message: Message, depth: int, tally: _Tally) -> None:
        """Check one message and those inside it (at most ``NESTING_MAX`` deep)."""
        traits = self._traits[type(message)]
        if traits.check is not None:
            traits.check(message, "")
        if depth:
            _require_nestable(type(message), depth)
        tally.count += 1
        tally.metered += message.metered()
        tally.units += message.units()
        if traits.collect is not None:
            traits.collect(message, tally.blobs)
        if traits.nests:
            for inner in self.read_nested(message):
                self._inspect_one(inner, depth + 1, tally)

    def read_nested(self, outer: Message) -> list[Message]:
        """Decode the messages an ``ip.execute`` carries as bytes (N-ip.9)."""
        nested: list[bytes] = outer.nested  # type: ignore[attr-defined]  # asked only of kinds that have it
        return [self.message.decode(raw) for raw in nested]


_NAMES = msgspec.msgpack.Decoder(Body[msgspec.Raw])
_NAME = msgspec.msgpack.Decoder(list[Any])


def tag_of(kind: type[Any]) -> str:
    """Return the permanent name of a message or event class."""
    return str(kind.__struct_config__.tag)


def _require_nestable(kind: type[Message], depth: int) -> None:
    if depth > NESTING_MAX:
        raise Rejected(
            "ip/ExecuteTooDeep", f"ip.execute nests deeper than {NESTING_MAX}", limit=NESTING_MAX
        )
    name = tag_of(kind)
    if name.startswith(NOT_NESTED):
        raise Rejected(
            "ip/MessageNotAllowed", f"{name} is not allowed inside ip.execute", name=name
        )


def _require_shortest(amount: bytes, name: str) -> None:
    if amount and amount[0] == 0:
        raise Rejected("field/NotCanonical", f"{name} has a leading zero", field=name)


def _require_ascending(keys: list[bytes]) -> None:
    for left, right in pairwise(keys):
        if left >= right:
            raise Rejected("field/NotAscending", "keys must be ascending, each once", field="keys")
