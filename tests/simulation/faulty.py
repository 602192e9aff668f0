"""Faulty validators: silent ones, liars, proposers of two blocks, and two-faced ones: two bodies.

A liar runs an honest core and twists what it sends. It can sign anything with its own key, and
nothing with another's; so its forgeries under other names must be caught by their signatures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

import msgspec

from chain.block import Block, Body, Proposal
from chain.certificate import Certificate
from chain.vote import Vote, VoteKind, vote_message
from consensus.core import Core
from consensus.effects import Effect
from consensus.events import AnyEvent
from consensus.messages import (
    BlockAnswer,
    CertificateMessage,
    LookbackAnswer,
    Message,
    ProposalMessage,
    RangeAnswer,
    VoteMessage,
)

from .node import Node

NEVER = 2**63
HEARD_MAX = 64
"""Messages a liar keeps, to play them again."""


class Careless(Core):
    """The core of a faulty validator: what its key signs elsewhere does not trouble it."""

    def handle(self, event: AnyEvent) -> list[Effect]:
        self.shared.own_from = NEVER
        return super().handle(event)


class Silent:
    """Says nothing, whatever it is asked."""

    def outgoing(self, node: Node, target: int, message: Message) -> Sequence[Message]:
        return ()

    def range_answer(self, node: Node, answer: RangeAnswer | None) -> RangeAnswer | None:
        return None


class Twice:
    """Proposes twice in every view it leads, and gives no block to whoever lacks one."""

    def outgoing(self, node: Node, target: int, message: Message) -> Sequence[Message]:
        if isinstance(message, BlockAnswer):
            return ()
        second = _other_proposal(node, message)
        return (message,) if second is None else (message, second)

    def range_answer(self, node: Node, answer: RangeAnswer | None) -> RangeAnswer | None:
        return None


class Liar:
    """Twists a share of its messages, each for each receiver anew."""

    def __init__(self, chance: Random, permille: int) -> None:
        self._chance = chance
        self._permille = permille
        self._said: deque[Message] = deque(maxlen=HEARD_MAX)
        self._twists: list[Callable[[Node, Message], Message | None]] = [
            _other_vote,
            _opposite_vote,
            _broken_signature,
            _foreign_vote,
            _far_vote,
            _other_proposal,
            _early_proposal,
            _orphaned_proposal,
            _usurping_proposal,
            _skipping_proposal,
            _broken_certificate,
            _short_certificate,
            _lying_lookback,
            self._again,
        ]

    def outgoing(self, node: Node, target: int, message: Message) -> Sequence[Message]:
        """Return the message, another in its place or beside it, or nothing."""
        self._said.append(message)
        if self._chance.randrange(1_000) >= self._permille:
            return (message,)
        twisted = self._chance.choice(self._twists)(node, message)
        if twisted is None:
            return () if self._chance.randrange(4) == 0 else (message,)
        return (twisted, message) if self._chance.randrange(2) else (twisted,)

    def range_answer(self, node: Node, answer: RangeAnswer | None) -> RangeAnswer | None:
        """Return a shorter range, one with a hole or a foreign proof, none, or the right one."""
        if answer is None or len(answer.blocks) < 2:
            return answer
        blocks = answer.blocks
        return self._chance.choice(
            [
                answer,
                None,
                RangeAnswer(blocks[:-1], answer.proof),
                RangeAnswer(blocks[1:], answer.proof),
                RangeAnswer([*blocks[:-2], blocks[-1]], answer.proof),
                RangeAnswer([(blocks[0][0], blocks[1][1]), *blocks[1:]], answer.proof),
            ]
        )

    def _again(self, node: Node, message: Message) -> Message | None:
        return self._said[self._chance.randrange(len(self._said))]


def _signed(node: Node, kind: int, epoch: int, view: int, block_id: bytes | None) -> Message:
    raw = vote_message(kind, node.core.shared.genesis_hash, epoch, view, block_id)
    return VoteMessage(Vote(kind, epoch, view, block_id, node.index, node.sign(raw)))


def _other_vote(node: Node, message: Message) -> Message | None:
    """A vote for a block that does not exist."""
    if not isinstance(message, VoteMessage) or message.vote.block_id is None:
        return None
    vote = message.vote
    return _signed(node, vote.kind, vote.epoch, vote.view, bytes(31) + bytes([node.index]))


def _opposite_vote(node: Node, message: Message) -> Message | None:
    """NULLIFY beside FINALIZE, FINALIZE beside NOTARIZE."""
    if not isinstance(message, VoteMessage):
        return None
    vote = message.vote
    if vote.kind == VoteKind.NOTARIZE:
        return _signed(node, VoteKind.FINALIZE, vote.epoch, vote.view, vote.block_id)
    return _signed(node, VoteKind.NULLIFY, vote.epoch, vote.view, None)


def _broken_signature(node: Node, message: Message) -> Message | None:
    if not isinstance(message, VoteMessage):
        return None
    signature = message.vote.signature
    broken = signature[:-1] + bytes([signature[-1] ^ 1])
    return VoteMessage(msgspec.structs.replace(message.vote, signature=broken))


def _foreign_vote(node: Node, message: Message) -> Message | None:
    """A vote under another's name, signed with the liar's key."""
    if not isinstance(message, VoteMessage):
        return None
    return VoteMessage(msgspec.structs.replace(message.vote, signer=message.vote.signer ^ 1))


def _far_vote(node: Node, message: Message) -> Message | None:
    """A vote for a view nobody is near."""
    if not isinstance(message, VoteMessage):
        return None
    vote = message.vote
    return _signed(node, VoteKind.NULLIFY, vote.epoch, vote.view + 10**6, None)


def _resigned(node: Node, proposal: Proposal, block: Block) -> Message:
    header = block.header
    raw = vote_message(
        VoteKind.NOTARIZE, node.core.shared.genesis_hash, header.epoch, header.view, block.id
    )
    signature = node.sign(raw)
    return ProposalMessage(
        msgspec.structs.replace(proposal, header=header, body=block.body, signature=signature)
    )


def _other_proposal(node: Node, message: Message) -> Message | None:
    """A second block of the same view, a little later."""
    if not isinstance(message, ProposalMessage):
        return None
    header = message.proposal.header
    later = msgspec.structs.replace(header, time_ms=header.time_ms + 1)
    return _resigned(node, message.proposal, Block(later, message.proposal.body))


def _early_proposal(node: Node, message: Message) -> Message | None:
    """A block no later than its parent."""
    if not isinstance(message, ProposalMessage):
        return None
    header = message.proposal.header
    parent = node.app.headers.get(header.parent_id)
    if parent is None:
        return None
    early = msgspec.structs.replace(header, time_ms=parent.time_ms)
    return _resigned(node, message.proposal, Block(early, message.proposal.body))


def _orphaned_proposal(node: Node, message: Message) -> Message | None:
    """A block whose parent's certificate has a signature that is none."""
    if not isinstance(message, ProposalMessage):
        return None
    body = message.proposal.body
    if body.parent_certificate is None:
        return None
    certificate = _with_broken_signature(body.parent_certificate)
    header = msgspec.structs.replace(
        message.proposal.header, parent_certificate_hash=certificate.hash()
    )
    block = Block(header, Body(certificate, body.transactions, body.evidence))
    return _resigned(node, message.proposal, block)


def _usurping_proposal(node: Node, message: Message) -> Message | None:
    """A block of its own in another leader's view, beside its vote for that leader's."""
    if not isinstance(message, VoteMessage) or message.vote.kind != VoteKind.NOTARIZE:
        return None
    found = node.core.shared.rounds.get(message.vote.view)
    if found is None or found.proposal is None:
        return None
    header = msgspec.structs.replace(found.proposal.header, proposer_index=node.index)
    return _resigned(node, found.proposal, Block(header, found.proposal.body))


def _skipping_proposal(node: Node, message: Message) -> Message | None:
    """A block above its grandparent: the parent is passed over without a nullification."""
    if not isinstance(message, ProposalMessage):
        return None
    proposal = message.proposal
    parent = node.app.headers.get(proposal.header.parent_id)
    if parent is None or parent.parent_view == 0:
        return None
    body = proposal.body
    found = node.core.shared.rounds.get(parent.parent_view)
    certificate = None if found is None else found.book.certificates[VoteKind.NOTARIZE]
    if certificate is None:
        return None
    body = Body(certificate, body.transactions, body.evidence)
    header = msgspec.structs.replace(
        proposal.header,
        height=parent.height,
        parent_view=parent.parent_view,
        parent_id=parent.parent_id,
        parent_certificate_hash=certificate.hash(),
        parent_state_root=parent.parent_state_root,
    )
    return _resigned(node, proposal, Block(header, body))


def _certificate_in(message: Message) -> Certificate | None:
    return message.certificate if isinstance(message, CertificateMessage) else None


def _broken_certificate(node: Node, message: Message) -> Message | None:
    """A certificate with one signature that is none."""
    certificate = _certificate_in(message)
    return None if certificate is None else CertificateMessage(_with_broken_signature(certificate))


def _with_broken_signature(certificate: Certificate) -> Certificate:
    signatures = [*certificate.signatures[:-1], bytes(64)]
    return msgspec.structs.replace(certificate, signatures=signatures)


def _short_certificate(node: Node, message: Message) -> Message | None:
    """A certificate in which one signer stands for two."""
    certificate = _certificate_in(message)
    if certificate is None or len(certificate.signatures) < 2:
        return None
    signatures = [certificate.signatures[0], *certificate.signatures[:-1]]
    return CertificateMessage(msgspec.structs.replace(certificate, signatures=signatures))


def _lying_lookback(node: Node, message: Message) -> Message | None:
    """An answer that claims to know of nothing."""
    if not isinstance(message, LookbackAnswer):
        return None
    return LookbackAnswer(message.epoch, [], None, True)
