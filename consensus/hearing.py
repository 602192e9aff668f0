"""Who was heard lately: by this a node judges for itself whom it need not wait for (C6).

Silence is counted in views. They begin anew with each epoch; for who lives through the end of one
they count on: what was heard in the old epoch was heard in view 0 of the new one or before.
"""

from __future__ import annotations

from chain.committee import Committee

SILENT_VIEWS = 10
"""Who has signed in none of so many views, while a quorum has, is not waited for. A member whose
votes come late still votes; a dead one costs a time-out in its first turns only."""


class Hearing:
    """In which view each member of a committee was last heard, and since when I listen."""

    __slots__ = ("_before", "_committee", "_newest", "_passed", "_since")

    def __init__(self, committee: Committee) -> None:
        """Listen to an epoch of whose past nothing is known."""
        self._committee = committee
        self._newest = [0] * len(committee)
        """By member: the newest view of a vote of its own: verified, or from its connection."""
        self._since: int | None = None
        """The view in which this node began to listen: it entered no view just before."""
        self._before: Committee | None = None
        """Who agreed in the epoch before, if this node lived through its end."""
        self._passed = 0
        """Views of that epoch: the last of them is view 0 of this one."""

    def next_epoch(self, committee: Committee, passed: int) -> Hearing:
        """Return what is known at the beginning of the next epoch, after ``passed`` views of this.

        Who comes new to the committee counts as heard just now.
        """
        after = Hearing(committee)
        after._since = None if self._since is None else self._since - passed
        after._before, after._passed = self._committee, passed
        for index, member in enumerate(committee):
            old = self._committee.index_of(member.public_key)
            if old is not None:
                after._newest[index] = min(self._newest[old] - passed, 0)
        return after

    def enter(self, left: int, entered: int) -> None:
        """Note that a view was left for another; after a leap I was the one who was away."""
        if self._since is None or entered > left + SILENT_VIEWS:
            self._since = entered

    def hear(self, member: int, view: int) -> None:
        """Note a vote of a view that is a member's own."""
        if view > self._newest[member]:
            self._newest[member] = view

    def hear_late(self, key: bytes, signer: int, view: int) -> None:
        """Note a vote of the epoch before, in which ``signer`` is an index, that ``key`` sent.

        So who is a hop behind the others is heard even if no epoch outlasts its votes' way. The
        vote is not verified any more: it must have come on the signer's own connection.
        """
        if self._before is None or self._before.index_of(key) != signer:
            return
        member = self._committee.index_of(key)
        if member is not None and (counted := min(view - self._passed, 0)) > self._newest[member]:
            self._newest[member] = counted

    def is_silent(self, member: int, view: int) -> bool:
        """Tell, in a view, whether a member has signed nothing lately while a quorum has."""
        lately = view - SILENT_VIEWS
        if self._since is None or max(self._newest[member], self._since) >= lately:
            return False
        members = enumerate(self._committee.powers)
        power = sum(power for index, power in members if self._newest[index] >= lately)
        return self._committee.is_quorum(power)
