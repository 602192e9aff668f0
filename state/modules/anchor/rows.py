"""What the chain keeps of logs and interactions: two tables (docs/anchor.md)."""

from __future__ import annotations

from chain.anchored import FAMILY, LOG_TABLE, RECORD_TABLE, Anchored, Log

from ...module import Table

VERSION = 1

LOGS = Table(FAMILY, LOG_TABLE, Log, key_bytes=21)
RECORDS = Table(FAMILY, RECORD_TABLE, Anchored, key_bytes=21)
