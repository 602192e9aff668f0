"""Anchoring AI interactions: salted commitments on chain, content never (docs/anchor.md).

One interaction is one ``anchor.record``. Whoever has many opens a log and appends batches: one
message commits up to 2^24 records under one root. The state keeps of a log its checkpoint only
(the peaks of its tree of batches), so a batch costs the same whatever it holds and however many
came before. What a record is, and how one is proved, is said in docs/record.md.

messages.py: what users say; rows.py: what is kept; rules.py: what happens; queries.py: what can
be asked; views.py: what the answers show.
"""

from __future__ import annotations

from ...module import Module, Scanner
from . import messages as m
from . import queries, rows, rules
from .rows import LOGS, RECORDS

__all__ = ["LOGS", "MODULE", "RECORDS"]


def check_logs(state: Scanner) -> str | None:
    """Every log has the peaks of its size, and no more batches than records (N-anchor.5)."""
    for key, log in LOGS.scan(state):
        if len(log.peaks) != log.batches.bit_count():
            return f"log {key.hex()} has {len(log.peaks)} peaks at {log.batches} batches"
        if log.batches > log.leaves:
            return f"log {key.hex()} has {log.batches} batches of {log.leaves} records"
    return None


MODULE = Module(
    name="anchor",
    version=3,
    messages={
        m.RecordInteraction: rules.apply_record,
        m.OpenLog: rules.apply_open_log,
        m.UpdateLog: rules.apply_update_log,
        m.CloseLog: rules.apply_close_log,
        m.Append: rules.apply_append,
    },
    events=(m.Recorded, m.LogOpened, m.LogUpdated, m.LogClosed, m.Appended),
    tables=(rows.LOGS, rows.RECORDS),
    queries={
        "get": queries.get,
        "list": queries.list_logs,
        "batch": queries.get_batch,
        "batches": queries.list_batches,
        "checkpoint": queries.get_checkpoint,
        "proof": queries.get_proof,
        "consistency": queries.get_consistency,
        "record": queries.get_record,
        "records": queries.list_records,
    },
    index=queries.index,
    invariants={"anchor/logs": check_logs},
)
