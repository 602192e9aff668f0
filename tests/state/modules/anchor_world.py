"""A state in memory on which messages of ``anchor`` run one by one, and builders for them."""

from __future__ import annotations

from collections.abc import Generator
from hashlib import sha256

import msgspec
import pytest

from chain.anchored import Writer
from chain.application import finish
from chain.codec import encode
from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.fields import checker
from chain.ids import NCOLO, Kind, derive_id
from chain.params import Params
from chain.record import (
    Batch,
    Facets,
)
from state.context import BlockContext, Context
from state.deposits import pay_deposits
from state.module import EventPlace, QueryContext
from state.modules import account, anchor, ip, license, royalty
from state.modules.anchor import messages as m
from state.modules.ip.asset import IpKind
from state.modules.ip.messages import Register
from state.overlay import Overlay
from state.registry import Registry

REGISTRY = Registry((account.MODULE, ip.MODULE, royalty.MODULE, license.MODULE, anchor.MODULE))
GENESIS = sha256(b"genesis").digest()
ALICE = b"\x00" + sha256(b"alice").digest()[:20]
BOB = b"\x00" + sha256(b"bob").digest()[:20]
CAROL = b"\x00" + sha256(b"carol").digest()[:20]
KEY = SigningKey(bytes(32)).public_key
ROOT = sha256(b"root").digest()
NOW = 1_700_000_000_000
DELAY = 60_000


class Memory(dict):
    """A key-value store in memory: a ``Scanner``, and what an overlay reads through to."""

    def scan(self, start, stop):
        for key in sorted(self):
            if start <= key < stop:
                yield key, self[key]


class World:
    """A state, an index and a clock; ``send`` runs one transaction of one message."""

    def __init__(self):
        self.state, self.index = Memory(), Memory()
        self.params = Params(modules=[])
        self.height, self.now = 1, NOW
        self.sent = 0
        for holder in (ALICE, BOB, CAROL):
            account.credit(self, holder, NCOLO, 10**15)

    def get(self, key):
        return self.state.get(key)

    def put(self, key, value):
        self.state[key] = value

    def delete(self, key):
        self.state.pop(key, None)

    def send(self, sender, message, actor=None):
        """Run a message; return its events, or raise and leave everything as it was."""
        overlay = Overlay(self.state.get)
        block = BlockContext(
            state=overlay,
            genesis_hash=GENESIS,
            height=self.height,
            time_ms=self.now,
            params=self.params,
            base_fee=0,
            dispatch=lambda context, inner: None,
            read_nested=REGISTRY.read_nested,
        )
        context = Context(block, sender, 0, self.sent, 0)
        context.begin_message(0, 0)
        context.actor = actor or sender
        self.sent += 1
        decoded = REGISTRY.message.decode(encode(message))
        check = checker(type(message))
        if check is not None:
            check(decoded, "")
        REGISTRY.apply[type(message)](context, decoded)
        pay_deposits(context)
        assert overlay.touched <= message.writes() + 1, "more keys than declared"
        overlay.commit()
        for key, value in overlay.writes.items():
            self.put(key, value) if value is not None else self.delete(key)
        self._index(context.events, sender)
        return context.events

    def _index(self, events, sender):
        place = EventPlace(self.height, self.now, 0, sha256(bytes([self.sent])).digest(), sender)
        for event in events:
            for key, value in anchor.MODULE.index(place, event):
                self.index.pop(key, None)
                if value is not None:
                    self.index[key] = value

    def query(self, name, **arguments):
        context = QueryContext(self.state, self.index, GENESIS, self.height, self.now, self.params)
        answer = anchor.MODULE.queries[name](context, **arguments)
        return finish(answer) if isinstance(answer, Generator) else answer

    def open_log(self, owner=ALICE, writers=(BOB,)):
        """Open a log and return its id."""
        (opened,) = self.send(owner, open_log([Writer(writer, KEY) for writer in writers]))
        return opened.log


def open_log(writers=(), **changes):
    values = {
        "schema": "colophon/interaction/1",
        "writers": list(writers),
        "retention": 30 * 86_400_000,
        "max_merge_delay": DELAY,
        **changes,
    }
    return m.OpenLog(**values)


def interaction(**changes):
    return m.RecordInteraction(**{"content_root": ROOT, "fields": 3, "facets": Facets(), **changes})


def batch(log, **changes):
    """Return the first batch of a log."""
    values = {
        "log": log,
        "batch_no": 0,
        "first_index": 0,
        "count": 5,
        "root": ROOT,
        "from_": NOW - 10,
        "to": NOW,
        **changes,
    }
    return m.Append(**values)


def leaf_of(message):
    """Return the leaf hash of a batch in its log's tree, by rule X8."""
    return Batch(
        log=message.log,
        batch_no=message.batch_no,
        first_index=message.first_index,
        count=message.count,
        begin_ms=message.from_,
        end_ms=message.to,
        root=message.root,
    ).hash()


def refusal(world, sender, message, actor=None):
    """Return the refusal of a message, having seen that it left no trace."""
    before = (dict(world.state), dict(world.index))
    with pytest.raises(Rejected) as caught:
        world.send(sender, message, actor)
    assert before == (dict(world.state), dict(world.index))
    return caught.value


def fill(world, log, counts):
    """Append a batch per count; return the messages."""
    sent, first = [], 0
    for number, count in enumerate(counts):
        root = sha256(number.to_bytes(4, "big")).digest()
        message = batch(log, batch_no=number, first_index=first, count=count, root=root)
        message = msgspec.structs.replace(message, from_=world.now, to=world.now)
        world.send(BOB, message)
        sent.append(message)
        first += count
        world.now += 1_000
        world.height += 1
    return sent


def register_agent(world, owner=ALICE):
    """Register an IP of kind agent and return its id."""
    world.send(owner, Register(kind=IpKind.AGENT, content_hash=sha256(owner).digest()))
    return derive_id(Kind.IP, GENESIS, owner, 0, world.sent - 1, [0], 0)
