"""What the node says when its disk refuses: one sentence, one of two codes (docs/operating.md)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chain.errors import ColophonError, DiskFault, Rejected

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors that room helps against."""

BLAMED = (*FULL, errno.EROFS, errno.EIO)
"""Errors that are the disk's, whatever was tried; others may come from owner, mode or name."""


NAMED = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""Errors that come of a file's owner, mode or name, and of no disk."""


def disk_fault(path: Path, number: int | None, words: str) -> DiskFault:
    """Return what to raise where the disk refused something about ``path``."""
    if number in FULL:
        return DiskFault(
            "home/DiskFull", f"no room for {path} ({words}): make room, then try again"
        )
    advice = "see that it is sound and mounted writable"
    if number in NAMED:
        advice = "check its name, its owner and its mode"
    return DiskFault(
        "home/DiskRefused", f"the disk refused {path} ({words}): {advice}, then try again"
    )


def refusal_of(path: Path, code: str, error: OSError) -> ColophonError:
    """Return what to raise about a path that somebody chose: the disk's fault, or theirs."""
    words = _words(error)
    if error.errno in BLAMED:
        return disk_fault(path, error.errno, words)
    return Rejected(code, f"cannot use {path}: {words}")


@contextmanager
def refusals(path: Path, code: str = "") -> Iterator[None]:
    """Turn an error of the system about ``path`` into a ``DiskFault``.

    What is or is not there is no fault of the disk: the caller knows what it says about that.
    With a ``code``, everything that is no fault of the disk is refused with it: for paths that
    somebody chose, and nothing hangs on.
    """
    try:
        yield
    except OSError as error:
        if code:
            raise refusal_of(path, code, error) from error
        if isinstance(error, FileExistsError | FileNotFoundError):
            raise
        raise disk_fault(path, error.errno, _words(error)) from error


def _words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def number_in(words: str) -> int | None:
    """Return the number of the system's error that a sentence of LevelDB names, if it names one."""
    return next((number for number in BLAMED if os.strerror(number) in words), None)
