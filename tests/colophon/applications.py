"""A node's application without the node."""

from __future__ import annotations

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
