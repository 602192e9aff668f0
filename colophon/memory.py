"""How the process keeps the garbage collector out of the way (docs/architecture.md).

Blocks make hundreds of thousands of short-lived objects without cycles; looking for cycles among
them and among the tree's millions of nodes pauses the loop for up to 130 ms (measured).
"""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 50_000
"""Allocations between two looks at the young generation: a look takes about 2 ms then."""


def settle() -> None:
    """Take what lives now out of the collector's sight, and let it look less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)
