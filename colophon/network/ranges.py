"""Final blocks given to who is behind, without holding up this node (protocol.md C18).

A range may be four megabytes, and strangers may ask. So one answer is made at a time, in steps
between which everything else is served, and of each peer one question waits at most.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from chain.application import Job
from chain.codec import encode
from consensus.catchup import answer_range
from consensus.messages import EncodedRange, RangeRequest
from p2p.network import Network

from ..application import NodeApplication
from ..gate import Gate
from ..steps import run_steps
from .channels import RANGES_ASKED
from .questions import members_first, read


class Question(NamedTuple):
    """A question that waits for its turn."""

    id: int
    request: RangeRequest


class Ranges:
    """The final blocks of one node, for others."""

    def __init__(self, network: Network, application: NodeApplication, gate: Gate) -> None:
        self._network = network
        self._application = application
        self._gate = gate
        self._waiting: dict[bytes, Question] = {}
        """By peer, the longest waiting first."""
        self._asker: bytes | None = None
        """Whom an answer is being made for; None if nobody, or if that peer is gone meanwhile."""
        self._has_questions = asyncio.Event()

    def left(self, peer: bytes) -> None:
        """A peer is gone, and what it asked with it: on its next connection ids begin anew."""
        self._waiting.pop(peer, None)
        if self._asker == peer:
            self._asker = None

    def on_question(self, peer: bytes, request_id: int, data: bytes) -> None:
        """Queue a question of a peer that is behind; one about nothing is answered at once.

        If an older one of the same peer waits, this one takes its place, and the older is answered
        with nothing: whoever asks again has given up waiting. Raises ``Rejected`` as ``read`` does
        if that is no question.
        """
        request = read(data, (RangeRequest,), RANGES_ASKED)
        newest = self._application.machine.head.height
        if not (1 <= request.height <= newest and request.blocks_max):
            self._answer(peer, request_id, b"")
            return
        older = self._waiting.get(peer)
        if older is not None:
            self._answer(peer, older.id, b"")
        self._waiting[peer] = Question(request_id, request)
        self._has_questions.set()

    async def run(self) -> None:
        """Answer one after the other, members of the committee first, until cancelled."""
        while True:
            await self._has_questions.wait()
            while self._waiting:
                peer = members_first(self._waiting, self._application.machine.committee)[0]
                question = self._waiting.pop(peer)
                self._asker = peer
                data = await run_steps(self._make(question.request), self._gate.wait)
                if self._asker == peer:
                    self._answer(peer, question.id, data)
            self._has_questions.clear()

    def _make(self, request: RangeRequest) -> Job[bytes]:
        """Return an encoded answer; no bytes if there is nothing to show."""
        machine, reader = self._application.machine, self._application.reader
        found = yield from answer_range(
            request, machine.head.height, machine.params.epoch_length, self._load, reader.finality
        )
        yield
        return b"" if found is None else encode(EncodedRange(*found))

    def _load(self, height: int) -> tuple[tuple[msgspec.Raw, msgspec.Raw], int]:
        """Return a block as it lies on disk, which is as it travels: nothing is decoded."""
        header, body = self._application.reader.encoded_block(height)
        return (msgspec.Raw(header), msgspec.Raw(body)), len(header) + len(body)

    def _answer(self, peer: bytes, request_id: int, data: bytes) -> None:
        self._network.answer(peer, RANGES_ASKED, request_id, data)
