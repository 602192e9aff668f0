"""What the oracle raises when a run broke a rule."""

from __future__ import annotations


class Violation(AssertionError):
    """A rule of the protocol was broken by an honest node, or by the run as a whole.

    ``rule`` is an invariant (``Q1`` … ``Q17``) or, where no invariant names it, the number of the
    rule in docs/protocol.md; ``sentence`` says which node and view, and what was seen.
    """

    def __init__(self, rule: str, sentence: str) -> None:
        super().__init__(f"{rule}: {sentence}")
        self.rule = rule
        self.sentence = sentence


def short(block_id: bytes | None) -> str:
    """Return the beginning of an id, enough to find it in a log."""
    return "nothing" if block_id is None else block_id.hex()[:12]
