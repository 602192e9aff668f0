"""Messages that no honest node sends, made from what honest ones said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from chain.certificate import Certificate, assemble_certificate
from chain.codec import Record, encode
from chain.committee import EPOCH_ZERO_ID, LeaderSchedule, genesis_committee, leader_seed
from chain.crypto import SigningKey
from chain.finality import FinalityProof
from chain.genesis import Genesis
from chain.header import Header
from chain.vote import FINALIZE, NOTARIZE, NULLIFY, Vote, vote_message
from colophon.network.channels import CONSENSUS, PROPOSALS, TRANSACTIONS
from consensus.gossip import TransactionsBatch
from consensus.messages import (
    BlockRequest,
    CertificateMessage,
    CompactProposal,
    EpochEnded,
    ViewRequest,
    VoteMessage,
)

AHEAD = 4
"""Views ahead of the newest that was heard: not final before the lie arrives, and not too far."""
FOREIGN = [SigningKey((60_000 + number).to_bytes(32, "big")) for number in range(4)]
"""Keys of nobody."""


@dataclass(frozen=True, slots=True)
class Lie:
    """What is said on a channel, and the code of the ban that it earns."""

    code: str
    channel: str
    message: Callable[[Scene], Record | bytes]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a liar knows."""

    genesis: Genesis
    heard: CompactProposal
    """A proposal of a view that is not long ago."""

    @property
    def genesis_hash(self) -> bytes:
        """What everything that is signed is bound to."""
        return self.genesis.hash()

    def leader(self, view: int) -> int:
        """Return whose turn a view of the first epoch is."""
        committee = genesis_committee(self.genesis)
        return LeaderSchedule(committee, leader_seed(self.genesis_hash, 0, EPOCH_ZERO_ID)).leader(
            view
        )

    def view_led_by(self, member: int) -> int:
        """Return a view ahead that a member leads, one within reach if there is any."""
        view = self.heard.header.view + AHEAD
        while self.leader(view) != member:
            view += 1
        return view

    def vote(
        self,
        key: SigningKey,
        signer: int,
        kind: int = NULLIFY,
        *,
        view: int | None = None,
        block_id: bytes | None = None,
        genesis_hash: bytes | None = None,
    ) -> Vote:
        """Return a vote with a signature by ``key``, whoever ``signer`` is."""
        view = self.heard.header.view + AHEAD if view is None else view
        network = self.genesis_hash if genesis_hash is None else genesis_hash
        message = vote_message(kind, network, 0, view, block_id)
        return Vote(kind, 0, view, block_id, signer, key.sign(message))

    def certificate(self, keys: list[SigningKey], kind: int = FINALIZE) -> Certificate:
        """Return a certificate of members 0, 1, 2 … with signatures by ``keys``."""
        view = self.heard.header.view + AHEAD
        block_id = None if kind == NULLIFY else self.heard.header.id()
        message = vote_message(kind, self.genesis_hash, 0, view, block_id)
        signatures = {index: key.sign(message) for index, key in enumerate(keys)}
        committee = genesis_committee(self.genesis)
        return assemble_certificate(committee, kind, 0, view, block_id, signatures)

    def header(self, **changes: object) -> Header:
        """Return the heard header in a view ahead, with changes."""
        view = self.heard.header.view + AHEAD
        given = {"view": view, "proposer_index": self.leader(view)} | changes
        return msgspec.structs.replace(self.heard.header, **given)

    def proposal(self, key: SigningKey, header: Header, **changes: object) -> CompactProposal:
        """Return the heard proposal under another header, signed by ``key``."""
        message = vote_message(NOTARIZE, self.genesis_hash, 0, header.view, header.id())
        given = {"header": header, "signature": key.sign(message)} | changes
        return msgspec.structs.replace(self.heard, **given)


def _vote(scene: Scene, **changes: object) -> VoteMessage:
    return VoteMessage(msgspec.structs.replace(scene.vote(FOREIGN[0], 0), **changes))


def _certificate(scene: Scene, **changes: object) -> CertificateMessage:
    certificate = scene.certificate(FOREIGN[:3])
    return CertificateMessage(msgspec.structs.replace(certificate, **changes))


def _parent_signatures(scene: Scene) -> list[bytes]:
    parent = scene.heard.parent_certificate
    assert parent is not None
    return parent.signatures


def _twisted_certificate(scene: Scene, signatures: list[bytes]) -> CertificateMessage:
    """The parent's certificate, of which every vote is genuine, under another kind and view."""
    parent = scene.heard.parent_certificate
    assert parent is not None
    certificate = msgspec.structs.replace(
        parent, kind=FINALIZE, view=scene.heard.header.view + AHEAD, signatures=signatures
    )
    return CertificateMessage(certificate)


def _repeated_signer(scene: Scene) -> CertificateMessage:
    first = _parent_signatures(scene)[0]
    return _twisted_certificate(scene, [first] * len(_parent_signatures(scene)))


def _few_signers(scene: Scene) -> CertificateMessage:
    signatures = _parent_signatures(scene)[:2]
    return _certificate(scene, bitmap=b"\x03", signatures=signatures)


def _epoch_end(scene: Scene, **changes: object) -> EpochEnded:
    header = scene.header(**changes)
    certificate = msgspec.structs.replace(
        scene.certificate(FOREIGN[:3]), view=header.view, block_id=header.id()
    )
    return EpochEnded(FinalityProof(certificate, [header]))


CONSENSUS_LIES = [
    Lie("codec/Malformed", CONSENSUS, lambda scene: b""),
    Lie("codec/Malformed", CONSENSUS, lambda scene: bytes(100_000)),
    Lie("codec/Malformed", CONSENSUS, lambda scene: b"\x91" * 131_072),
    Lie("codec/NotCanonical", CONSENSUS, lambda s: encode(ViewRequest(0, 1))[:-1] + b"\xcc\x01"),
    Lie("channel/WrongMessage", CONSENSUS, lambda scene: BlockRequest(bytes(32))),
    Lie("channel/WrongMessage", CONSENSUS, lambda scene: scene.heard),
    Lie("crypto/BadSignature", CONSENSUS, _vote),
    Lie("vote/Signer", CONSENSUS, lambda scene: _vote(scene, signer=99)),
    Lie("vote/BlockId", CONSENSUS, lambda scene: _vote(scene, block_id=bytes(32))),
    Lie("vote/Kind", CONSENSUS, lambda scene: _vote(scene, kind=7)),
    Lie("crypto/BadSignature", CONSENSUS, _certificate),
    Lie("crypto/BadSignature", CONSENSUS, _repeated_signer),
    Lie("certificate/NoQuorum", CONSENSUS, _few_signers),
    Lie("certificate/SignatureCount", CONSENSUS, lambda s: _certificate(s, bitmap=b"\x0f")),
    Lie("certificate/Bitmap", CONSENSUS, lambda s: _certificate(s, bitmap=b"\x70")),
    Lie("certificate/Bitmap", CONSENSUS, lambda s: _certificate(s, bitmap=b"\x07\x00")),
    Lie("consensus/NotTheEnd", CONSENSUS, _epoch_end),
    Lie(
        "crypto/BadSignature",
        CONSENSUS,
        lambda scene: _epoch_end(scene, height=scene.genesis.params.epoch_length),
    ),
]
"""Each is told by a stranger of its own."""

PROPOSAL_LIES = [
    Lie("codec/Malformed", PROPOSALS, lambda scene: b"\xc1"),
    Lie("channel/WrongMessage", PROPOSALS, lambda scene: ViewRequest(0, 1)),
    Lie(
        "consensus/NotLeader",
        PROPOSALS,
        lambda s: s.proposal(FOREIGN[0], s.header(proposer_index=77)),
    ),
    Lie("crypto/BadSignature", PROPOSALS, lambda s: s.proposal(FOREIGN[0], s.header())),
]

TRANSACTION_LIES = [
    Lie("codec/Malformed", TRANSACTIONS, lambda scene: b"\xff" * 1_000),
    Lie("codec/Malformed", TRANSACTIONS, lambda scene: TransactionsBatch([b"\x93"])),
    Lie("codec/Malformed", TRANSACTIONS, lambda scene: TransactionsBatch([b"\x91" * 60_000])),
]
