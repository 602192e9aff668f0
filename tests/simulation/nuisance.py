"""Members who break no rule that can be proved, and cost everybody time (protocol.md C6, C13).

Each behaviour is played beside the same network in which that member is dead. With it, blocks have
to come at three quarters of that pace at least, in virtual time: a nuisance gains nothing by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from chain.block import Block, Proposal
from chain.vote import NULLIFY, Vote, VoteKind, vote_message
from consensus.messages import (
    BlockAnswer,
    CertificateMessage,
    Message,
    ProposalMessage,
    RangeAnswer,
    VoteMessage,
)

from .cluster import Cluster
from .node import Mischief, Node
from .profiles import Shape
from .violation import Violation

SETTLE_ROUNDS = 4
"""Turns of everybody before it counts: by then it is known who fails, or is dead."""
COUNTED_HEIGHTS = 160
LIMIT_MS = 4_000_000
FLOOR = 3, 4
"""The least rate beside that with the member dead."""
SORTS = ("proposal", "vote 0", "vote 1", "vote 2", "certificate", "block")
"""What a member sends, and may keep back: votes by kind."""
SHARES = (0, 0, 0, 0.1, 0.3, 0.5, 1)
"""How much of it."""
AHEAD_MS = 900
"""What a header's time may be ahead and still be waited for: less than twice PRECISION."""


class _Nuisance:
    """Gives ranges like anybody."""

    def range_answer(self, node: Node, answer: RangeAnswer | None) -> RangeAnswer | None:
        return answer


class Mute(_Nuisance):
    """Votes and never proposes; so does who names transactions that do not exist."""

    def outgoing(self, node: Node, target: int, message: Message) -> Sequence[Message]:
        return () if isinstance(message, ProposalMessage) else (message,)


class Moody(_Nuisance):
    """Proposes in seven of eight turns: the share that is just forgiven."""

    def __init__(self) -> None:
        self._turns: dict[tuple[int, int], int] = {}

    def outgoing(self, node: Node, target: int, message: Message) -> Sequence[Message]:
        if not isinstance(message, ProposalMessage):
            return (message,)
        header = message.proposal.header
        if header.proposer_index != node.index:
            return (message,)
        turn = self._turns.setdefault((header.epoch, header.view), len(self._turns))
        return () if turn % 8 == 0 else (message,)


class Keeper(_Nuisance):
    """Gives its proposals to one member only, and no block to whoever lacks one."""

    def outgoing(self, node: Node, target: int, message: Message) -> Sequence[Message]:
        if isinstance(message, BlockAnswer):
            return ()
        if isinstance(message, ProposalMessage):
            return (message,) if target == (node.index + 1) % _size(node) else ()
        return (message,)


class Ahead(_Nuisance):
    """Sets the times of its blocks almost as far ahead as is waited for."""

    def outgoing(self, node: Node, target: int, message: Message) -> Sequence[Message]:
        if not isinstance(message, ProposalMessage):
            return (message,)
        if message.proposal.header.proposer_index != node.index:
            return (message,)
        return (_put_off(node, message.proposal),)


class Fickle(_Nuisance):
    """Keeps back some of everything it should send: now and then, from some members, or in some
    views. What, how often and how is drawn."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._salt = chance.random()
        self._share = {sort: chance.choice(SHARES) for sort in SORTS}
        self._way = {sort: chance.choice(("message", "target", "view")) for sort in SORTS}

    def outgoing(self, node: Node, target: int, message: Message) -> Sequence[Message]:
        match message:
            case ProposalMessage():
                keeps = self._keeps("proposal", target, message.proposal.header.view)
            case VoteMessage():
                keeps = self._keeps(f"vote {int(message.vote.kind)}", target, message.vote.view)
            case CertificateMessage():
                keeps = self._keeps("certificate", target, message.certificate.view)
            case BlockAnswer():
                keeps = self._keeps("block", target, message.header.view)
            case _:
                keeps = False
        return () if keeps else (message,)

    def _keeps(self, sort: str, target: int, view: int) -> bool:
        draw = self._chance
        if self._way[sort] != "message":
            place = target if self._way[sort] == "target" else view
            draw = Random(f"{self._salt} {sort} {place}")
        return draw.random() < self._share[sort]


class Forger(_Nuisance):
    """Sends votes of a dead member, with signatures that are none, after every certificate."""

    def __init__(self, dead: int) -> None:
        self._dead = dead

    def outgoing(self, node: Node, target: int, message: Message) -> Sequence[Message]:
        if not isinstance(message, CertificateMessage) or message.certificate.kind > NULLIFY:
            return (message,)
        about = message.certificate
        forged = Vote(about.kind, about.epoch, about.view, about.block_id, self._dead, bytes(64))
        return message, VoteMessage(forged)


def require_pace(shape: Shape, name: str, culprit: int, chance: Random) -> Cluster:
    """Play a nuisance beside its death; raise ``C13`` if it slows the others down too much.

    Returns the network that had the nuisance. With ``forger`` the culprit is dead in both, and its
    neighbour speaks in its name.
    """
    best_ms, _ = _play(shape, culprit, None)
    if name == "forger":
        speaker = (culprit + 1) % shape.size
        took_ms, cluster = _play(shape, culprit, (speaker, Forger(culprit)))
    else:
        nuisance = Fickle(chance) if name == "fickle" else NUISANCES[name]()
        took_ms, cluster = _play(shape, None, (culprit, nuisance))
    if took_ms * FLOOR[0] > best_ms * FLOOR[1]:
        raise Violation(
            "C13", f"{name}: {COUNTED_HEIGHTS} heights in {took_ms} ms; {best_ms} ms with it dead"
        )
    return cluster


NUISANCES: dict[str, type[Mute | Moody | Keeper | Ahead]] = {
    "mute": Mute,
    "moody": Moody,
    "keeper": Keeper,
    "ahead": Ahead,
}


def _play(
    shape: Shape, dead: int | None, nuisance: tuple[int, Mischief] | None
) -> tuple[int, Cluster]:
    """Return in what time a network made its heights once everybody knew everybody."""
    faulty = set() if dead is None else {dead}
    if nuisance is not None:
        faulty.add(nuisance[0])
    honest = frozenset(range(shape.size)) - faulty
    cluster = Cluster(shape.powers, shape.params, shape.delays, honest=honest, start=False)
    if nuisance is not None:
        culprit = cluster.nodes[nuisance[0]]
        culprit.mischief = nuisance[1]
        cluster.make_faulty(culprit)
    for node, error_ms in zip(cluster.nodes, shape.clock_errors_ms, strict=True):
        node.clock_error_ms = error_ms
        cluster.start(node)
    cluster.keep_busy()
    if dead is not None:
        cluster.crash(cluster.nodes[dead])
    settled = SETTLE_ROUNDS * shape.size
    cluster.run_to_height(settled, limit_ms=LIMIT_MS)
    began_ms = cluster.now_ms
    cluster.run_to_height(settled + COUNTED_HEIGHTS, limit_ms=LIMIT_MS)
    cluster.check()
    return cluster.now_ms - began_ms, cluster


def _size(node: Node) -> int:
    return len(node.core.shared.committee)


def _put_off(node: Node, proposal: Proposal) -> Message:
    """Return the proposal with a later time, signed anew."""
    header = msgspec.structs.replace(proposal.header, time_ms=proposal.header.time_ms + AHEAD_MS)
    block = Block(header, proposal.body)
    signed = vote_message(
        VoteKind.NOTARIZE, node.core.shared.genesis_hash, header.epoch, header.view, block.id
    )
    return ProposalMessage(
        Proposal(
            header, proposal.body, proposal.attachments, node.sign(signed), proposal.nullifications
        )
    )
