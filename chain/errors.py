"""Every error the project raises on purpose.

::

    ColophonError
    ├── Misuse            a caller of ours broke a contract: a bug, never caused by input
    ├── Rejected          input from a user, a client or a block is refused: expected, coded
    ├── PeerFault         a peer sent what no honest node sends: provable, may be banned
    ├── Corruption        our own disk or state contradicts itself: the node stops, keeps its data
    └── DiskFault         our own disk refused to read or write: the node stops, keeps its data

``Rejected`` is the only one that reaches users. Its ``code`` (``family/Reason``) is permanent;
its message says what was found and what was expected; ``details`` carries the values.
"""

from __future__ import annotations


class ColophonError(Exception):
    """Root of the tree; never raised itself."""


class Misuse(ColophonError):
    """Our own code called something in a way its contract forbids."""


class Rejected(ColophonError):
    """Input is refused, nothing has changed.

    ``code`` is ``family/Reason`` and never changes its meaning; ``details`` holds plain values
    (int, str, bytes, bool, lists of these) that broke the rule.
    """

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class PeerFault(ColophonError):
    """A peer provably broke the protocol; ``code`` names the rule."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Corruption(ColophonError):
    """Local data contradicts itself; the node must stop and leave the data as it is."""


class DiskFault(ColophonError):
    """The disk said no; the node must stop, for nothing is ever tried again on it.

    ``code`` is ``home/DiskFull`` or ``home/DiskRefused``. It is no ``Rejected``: a block must not
    be refused because a disk is full.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
