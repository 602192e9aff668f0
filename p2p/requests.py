"""Questions that wait for their answers, on both sides of one connection (protocol.md W7)."""

from __future__ import annotations

from typing import Generic, TypeVar

from chain.errors import PeerFault, Rejected

from .channels import Channel

T = TypeVar("T")


class OpenRequests(Generic[T]):
    """What this node asked one peer; ``T`` is whatever waits for the answer."""

    def __init__(self, requests_max: int) -> None:
        self._requests_max = requests_max
        self._open: dict[int, tuple[int, T]] = {}
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._open)

    def add(self, answer: Channel, waiter: T) -> int:
        """Open a request that is answered on ``answer``; return its id, which is never 0.

        Raises ``Rejected`` with ``p2p/Busy`` if too many are open.
        """
        if len(self._open) >= self._requests_max:
            raise Rejected(
                "p2p/Busy", f"{self._requests_max} requests to this peer are open already"
            )
        self._last_id += 1
        self._open[self._last_id] = (answer.number, waiter)
        return self._last_id

    def awaits(self, answer: Channel, request_id: int) -> bool:
        """Tell whether an answer with this id may come on this channel."""
        found = self._open.get(request_id)
        return found is not None and found[0] == answer.number

    def was_asked(self, request_id: int) -> bool:
        """Tell whether the id was ever given out: then its answer is only late."""
        return request_id <= self._last_id

    def take(self, answer: Channel, request_id: int) -> T | None:
        """Close a request by its answer; return its waiter, None if it is not open."""
        if not self.awaits(answer, request_id):
            return None
        return self._open.pop(request_id)[1]

    def forget(self, request_id: int) -> None:
        """Close a request without an answer: it took too long, or nobody waits any more."""
        self._open.pop(request_id, None)

    def close(self) -> list[T]:
        """Close all; return who waited."""
        waiters = [waiter for _, waiter in self._open.values()]
        self._open.clear()
        return waiters


class AskedRequests:
    """What one peer asked this node and was not answered yet."""

    def __init__(self, requests_max: int) -> None:
        self._requests_max = requests_max
        self._asked: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        return len(self._asked)

    def add(self, request: Channel, request_id: int) -> bool:
        """Note a request; False means that too many wait and this one is dropped.

        Raises ``PeerFault`` with ``p2p/RequestId`` for an id that is in use.
        """
        key = (request.number, request_id)
        if key in self._asked:
            raise PeerFault(
                "p2p/RequestId", f"request id {request_id} on channel {request.name} is in use"
            )
        if len(self._asked) >= self._requests_max:
            return False
        self._asked.add(key)
        return True

    def take(self, request: Channel, request_id: int) -> bool:
        """Close a request that is now answered; False if it is not open."""
        key = (request.number, request_id)
        if key not in self._asked:
            return False
        self._asked.discard(key)
        return True
