"""What is said of a database that cannot be opened: damaged, not ours, or not to be had."""

from __future__ import annotations

from pathlib import Path

from chain.errors import ColophonError, Corruption, Rejected

from .disk_fault import disk_fault, number_in


def damaged(path: Path, words: str) -> Corruption:
    """Return what to raise about a database whose files contradict themselves, in ``words``."""
    return Corruption(
        f"the database in {path} is damaged ({words}): restore it or start from a snapshot; "
        "nothing was changed"
    )


def not_a_database(path: Path, create: bool) -> Rejected:
    """Return what to raise about a directory that is none; ``create`` if one may be made there."""
    hint = "name an empty or a new directory" if create else "`colophon node init` makes one"
    return Rejected(
        "store/NotADatabase", f"{path} is not a database of Colophon; {hint}", path=str(path)
    )


def no_access(path: Path, error: Exception) -> ColophonError:
    """Return whether the disk is to blame or who owns the directory."""
    words = words_of(error)
    number = number_in(words)
    if number is not None:
        return disk_fault(path, number, f"opening the database: {words}")
    return Rejected(
        "store/NotWritable",
        f"the database directory {path} cannot be written ({words}): check who owns it",
        path=str(path),
    )


def words_of(error: Exception) -> str:
    """Return an error's own words; LevelDB's come as bytes."""
    words = error.args[0] if error.args else ""
    if isinstance(words, bytes):
        return words.decode("utf-8", "replace")
    return str(error)
