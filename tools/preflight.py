"""Says in one line what a machine lacks, before pip would say it in a hundred.

Needs only the standard library and runs on any Python 3.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path

HEADER_DIRECTORIES = ("/usr/include", "/usr/local/include", "/opt/homebrew/include")


def problem() -> str | None:
    """Return what is missing, with the command that helps, or None."""
    version = sys.version_info[:2]
    if not (3, 11) <= version <= (3, 13):
        return (
            f"Colophon needs Python 3.11, 3.12 or 3.13, this is {version[0]}.{version[1]}; "
            "choose one with `make PYTHON=python3.12 …`"
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        return "Python's venv is missing: `apt install python3-venv`"
    if importlib.util.find_spec("plyvel") is not None or _wheel_exists(version):
        return None
    if not any((Path(place) / "leveldb" / "db.h").exists() for place in HEADER_DIRECTORIES):
        return (
            "LevelDB's headers are missing, and there is no ready-made plyvel for this Python: "
            "`apt install libleveldb-dev g++`, or use Python 3.11 or 3.12 on Linux x86-64"
        )
    return None


def _wheel_exists(version: tuple[int, ...]) -> bool:
    linux = platform.system() == "Linux" and platform.machine() == "x86_64"
    return linux and version in ((3, 11), (3, 12)) and platform.libc_ver()[0] == "glibc"


if __name__ == "__main__":
    found = problem()
    if found is not None:
        sys.exit(found)
