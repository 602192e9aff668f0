"""What the node says when its disk refuses: one sentence, one of two codes (docs/operating.md)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chain.errors import DiskFault

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors that room helps against."""

BLAMED = (*FULL, errno.EROFS, errno.EIO)
"""Errors that are the disk's, whatever was tried; others may come from owner, mode or name."""


def disk_fault(path: Path, number: int | None, words: str) -> DiskFault:
    """Return what to raise where the disk refused something about ``path``."""
    if number in FULL:
        return DiskFault(
            "home/DiskFull", f"no room for {path} ({words}): make room, then start the node again"
        )
    return DiskFault(
        "home/DiskRefused",
        f"the disk refused {path} ({words}): see that it is sound and mounted writable, then "
        "start the node again",
    )


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn an error of the system about ``path`` into a ``DiskFault``.

    What is or is not there is no fault of the disk: the caller knows what it says about that.
    """
    try:
        yield
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        words = os.strerror(error.errno) if error.errno else str(error)
        raise disk_fault(path, error.errno, words) from error


def number_in(words: str) -> int | None:
    """Return the number of the system's error that a sentence of LevelDB names, if it names one."""
    return next((number for number in BLAMED if os.strerror(number) in words), None)
