"""Colophon: a standalone blockchain node for AI-native assets.

``Client`` (and ``AsyncClient``) talk to a node, ``Wallet`` and ``Draft`` make transactions,
``verify`` checks exported bundles offline. The command line is ``colophon``.
"""

from __future__ import annotations

__version__ = "0.1.0"
