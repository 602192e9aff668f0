"""Block times against the clocks of honest nodes (C2, C3, Q16)."""

from __future__ import annotations

from chain.header import KIND_BLOCK, Header

from .block_tree import BlockTree
from .violation import Violation


class Clocks:
    """What honest clocks can show at a moment, and how far ahead a block's time may be.

    Fillers copy their time and are not judged.
    """

    def __init__(
        self,
        tree: BlockTree,
        *,
        genesis_time_ms: int | None,
        precision_ms: int,
        max_clock_error_ms: int,
    ) -> None:
        self._tree = tree
        self._origin_ms = genesis_time_ms
        """What a perfect clock shows when the simulated one reads 0; None: nobody can say."""
        self._precision_ms = precision_ms
        self._max_clock_error_ms = max_clock_error_ms

    def judge_signed(self, node: int, header: Header, wall_ms: int) -> None:
        """Raise ``Q16`` if an honest node whose clock shows ``wall_ms`` must not sign NOTARIZE.

        A leader names its own time, or the first that is later than the parent's; the others
        allow PRECISION.
        """
        if header.proposer_index == node:
            self._require(header, max(wall_ms, self._tree.parent_time_ms(header) + 1), node)
        else:
            self._require(header, wall_ms + self._precision_ms, node)

    def judge_sent(self, node: int, header: Header, now_ms: int) -> None:
        """The same when a vote leaves, by the most that an honest clock can show."""
        if self._origin_ms is not None:
            self.judge_signed(node, header, self._origin_ms + now_ms + self._max_clock_error_ms)

    def judge_committed(self, node: int, header: Header, now_ms: int) -> None:
        """Raise ``Q16`` if no honest vote for a committed block can have been in order."""
        if self._origin_ms is not None:
            latest_ms = self._origin_ms + now_ms + self._max_clock_error_ms + self._precision_ms
            self._require(header, max(latest_ms, self._tree.parent_time_ms(header) + 1), node)

    def _require(self, header: Header, limit_ms: int, node: int) -> None:
        if header.time_ms > limit_ms and header.kind == KIND_BLOCK:
            raise Violation(
                "Q16",
                f"node {node}, view {header.view}: time {header.time_ms} of a block, at most "
                f"{limit_ms} by the clock",
            )
