"""``python -m colophon`` is the command line."""

from __future__ import annotations

from colophon.cli.main import main

if __name__ == "__main__":
    main()
