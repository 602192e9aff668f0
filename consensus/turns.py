"""How the turns of each leader ended: by this a node judges whom it need not wait for (C6, C13).

A member may vote and never propose, keep its block's body back, or set its time ahead of every
clock. Each of its turns then costs a time-out, and nothing of it is provable. What shows is that
its turns fail and those of others do not.
"""

from __future__ import annotations

from chain.committee import Committee

CREDIT_MAX = 14
PRICE = 7
"""A leader begins with a credit of 14; a turn that fails costs seven, a good one gives one. At zero
it is passed over: after two in a row, or if more than one in eight fail."""
TRIAL_ROUNDS_MIN = 16
TRIAL_ROUNDS_MAX = 64
"""Who is passed over is waited for in one of so many rounds of turns, so that it is seen to do well
again: in fewer, the longer it fails."""


class Turns:
    """How the turns of each member of a committee ended here."""

    __slots__ = ("_committee", "_convicted", "_credit", "_failed", "_judged")

    def __init__(self, committee: Committee) -> None:
        """Begin an epoch; nothing is known of anybody."""
        self._committee = committee
        self._credit = [CREDIT_MAX] * len(committee)
        self._failed = [0] * len(committee)
        """By member: turns that failed in a row."""
        self._judged = [0] * len(committee)
        """By member: the newest view of its own that was judged."""
        self._convicted: set[int] = set()
        """Members against whom there is evidence: they get no more credit."""

    def next_epoch(self, committee: Committee) -> Turns:
        """Return what is known at the beginning of the next epoch, of those who stay."""
        after = Turns(committee)
        for index, member in enumerate(committee):
            old = self._committee.index_of(member.public_key)
            if old is not None:
                after._failed[index] = self._failed[old]
                after._credit[index] = self._credit[old]
                if old in self._convicted:
                    after.convict(index)
        return after

    def failed(self, leader: int, view: int) -> int:
        """Note that a turn cost a time-out, or had to be waited for.

        Returns how many did in a row by now; 0 if this turn had been judged before.
        """
        if view <= self._judged[leader]:
            return 0
        self._judged[leader] = view
        self._failed[leader] += 1
        self._credit[leader] = max(self._credit[leader] - PRICE, 0)
        return self._failed[leader]

    def convict(self, member: int) -> None:
        """Note that a member signed what no honest one signs: nothing of it is waited for."""
        self._convicted.add(member)
        self._credit[member] = 0

    def went_well(self, leader: int, view: int) -> None:
        """Note that a turn ended with a notarized block in time."""
        if view > self._judged[leader]:
            self._judged[leader] = view
            self._failed[leader] = 0
            if leader not in self._convicted:
                self._credit[leader] = min(self._credit[leader] + 1, CREDIT_MAX)

    def is_slow_for_all(self, leader: int) -> bool:
        """Tell, in a turn of ``leader`` that fails, whether an honest leader's turns fail too.

        It is so once the members whose last turns failed hold a third of the power: faulty ones
        hold less. Then the network is slower than Δ_now, or this node is; no leader is to blame.
        """
        last_failed = [index for index, failed in enumerate(self._failed) if failed]
        return self._hold_honest({leader, *last_failed})

    def is_passed_over(self, leader: int, height: int) -> bool:
        """Tell whether the leader of my view is one that this node does not wait for.

        ``height``: of the newest final block, and one for each view since.
        """
        if self._credit[leader] > 0 or self._is_trial(leader, height):
            return False
        passed_over = {index for index, credit in enumerate(self._credit) if not credit}
        return not self._hold_honest(passed_over)

    def _hold_honest(self, members: set[int]) -> bool:
        """Tell whether members hold a third of the power, so that not all of them are faulty."""
        return 3 * sum(self._committee.powers[member] for member in members) >= (
            self._committee.total
        )

    def _is_trial(self, leader: int, height: int) -> bool:
        """Tell whether it is a round in which a leader is waited for though it fails.

        Rounds are of heights, which no epoch begins anew, and periods are powers of two: so nodes
        wait in the same rounds, also if they have not counted alike, and in none twice.
        """
        longest = 1 << max(self._failed[leader].bit_length() - 1, 0)
        period = min(max(longest, TRIAL_ROUNDS_MIN), TRIAL_ROUNDS_MAX)
        return height // len(self._committee) % period == 0
