"""A node's application without the node."""

from __future__ import annotations

from chain.transaction import ENVELOPE
from colophon.admission import Admission
from colophon.application import NodeApplication
from colophon.clock import Clock
from colophon.config import MempoolSection
from colophon.pool import NodePool
from colophon.signatures import SignatureWorkers
from state.machine import StateMachine


def application_above(machine: StateMachine, clock: Clock) -> NodeApplication:
    """Return an application over a state, with an empty pool; signatures are verified inline."""
    pool = NodePool(machine, clock, MempoolSection())
    return NodeApplication(machine, SignatureWorkers(0), clock, pool)


def admit(machine: StateMachine, pool: NodePool, raw: bytes) -> None:
    """Put a client's envelope into the pool, its signatures unverified; raises ``Rejected``."""
    admission = Admission(machine, pool)
    tx = admission.inspect(ENVELOPE.decode(raw), len(raw))
    admission.add(admission.require_hope(tx, raw, None), None)
