"""Messages between simulated nodes: who hears what, when, and what a liar makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chain.vote import Vote
from consensus import effects as fx
from consensus.messages import Message, ProposalMessage, VoteMessage

from .node import Node
from .setting import Setting
from .timeline import Timeline
from .weather import Weather


class Wire:
    """Carries messages from body to body, as the weather lets it."""

    def __init__(
        self,
        timeline: Timeline,
        setting: Setting,
        bodies: Sequence[Sequence[Node]],
        weather: Weather,
        receive: Callable[[Node, bytes, Message], None],
    ) -> None:
        """``bodies``: by member; ``receive`` is called when a message has arrived."""
        self._timeline = timeline
        self._setting = setting
        self._bodies = bodies
        self._weather = weather
        self._receive = receive
        self._peers = [member.public_key for member in setting.committee]

    def broadcast(self, node: Node, effect: fx.Broadcast) -> None:
        """Send a message to everybody else."""
        self._note_sent(node, effect.message)
        for target in range(len(self._bodies)):
            if target != node.index:
                self.send(node, target, effect.message)

    def answer(self, node: Node, effect: fx.Send) -> None:
        """Send a message to a peer that was heard."""
        self._note_sent(node, effect.message)
        self.send(node, self._setting.index_of(effect.peer), effect.message)

    def request(self, node: Node, effect: fx.Request) -> None:
        """Ask the member that the core would ask, or another one after that."""
        self.send(node, self.choose(node, effect.member, effect.attempt), effect.message)

    def choose(self, node: Node, member: int | None, attempt: int) -> int:
        """Return whom to ask: the member named first, then the others in turn."""
        first = node.index + 1 if member is None else member
        index = (first + attempt) % len(self._bodies)
        return (index + 1) % len(self._bodies) if index == node.index else index

    def send(self, source: Node, target: int, message: Message) -> None:
        """Send a message, or what its sender makes of it, to somebody it talks with."""
        if source.audience is not None and target not in source.audience:
            return
        if source.mischief is None:
            self._carry(source.index, target, message)
            return
        for twisted in source.mischief.outgoing(source, target, message):
            if self._setting.oracle is not None:
                self._setting.oracle.sent_by_faulty(source.index, twisted)
            self._carry(source.index, target, twisted)

    def _carry(self, source: int, target: int, message: Message) -> None:
        """Put a message on its way: the weather says when, and how often, it arrives."""
        peer = self._peers[source]
        now_ms = self._timeline.now_ms
        for delay_ms in self._weather.delays(now_ms, source, target, message):
            for body in self._bodies[target]:
                if body.audience is None or source in body.audience:
                    self._timeline.later(body, delay_ms, self._receive, peer, message)

    def _note_sent(self, node: Node, message: Message) -> None:
        oracle = self._setting.oracle
        if node.index in self._setting.honest:
            vote = _vote_in(message)
            if vote is not None and vote.signer == node.index:
                assert vote.signature in node.durable, "a vote left before it was durable"
                node.sent.append(vote)
            if oracle is not None:
                oracle.sent(node.index, message, self._timeline.now_ms)
        elif oracle is not None and node.mischief is None:
            oracle.sent_by_faulty(node.index, message)


def _vote_in(message: Message) -> Vote | None:
    if isinstance(message, VoteMessage):
        return message.vote
    if isinstance(message, ProposalMessage):
        return message.proposal.vote(message.proposal.header.id())
    return None
