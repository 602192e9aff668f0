"""The node: one process that wires everything together and nothing more (docs/architecture.md).

Read it from ``run_node``: open what lies on disk, make the parts, let them run, close in the
opposite order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import chain
import consensus
import rpc
import state
from chain.crypto import SigningKey, self_test, verify_signature
from chain.errors import Corruption, DiskFault, Rejected
from chain.genesis import Genesis
from consensus.core import Core
from consensus.guard import check_guard
from consensus.shared import Settings
from rpc.limits import Limits
from rpc.server import RpcServer
from state.disk_fault import refusals
from state.families import REGISTRY
from state.machine import StateMachine
from state.store import Store

from .admin import AdminServer
from .application import NodeApplication
from .backend import NodeBackend
from .clock import Clock, may_travel
from .config import Config, parse_address
from .disk import Disk
from .gate import Gate
from .guard_file import GuardFile
from .home import Home, read_genesis, read_key, say_running
from .host import Host
from .journal_file import JournalFile
from .memory import settle
from .network.router import Router
from .pool import NodePool
from .signatures import BatchVerifier, SignatureWorkers, default_workers

log = logging.getLogger("colophon.node")

SWEEP_S = 1.0
"""How often the pool looks for what will never be paid."""


async def run_node(
    home: Home,
    config: Config,
    *,
    stopping: asyncio.Event | None = None,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Run a node until ``stopping`` is set, a signal comes, or consensus stops by itself.

    ``ready`` is called with the RPC address once the node answers. Raises ``Rejected``,
    ``Corruption`` or ``DiskFault`` with one sentence if it cannot start or had to stop.
    """
    stopping = stopping or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    _require_own_packages()
    self_test()
    with home.lock():
        genesis = read_genesis(home.genesis)
        key = read_key(home.validator_key)
        with open_parts(home, config, genesis, key) as parts:
            machine = parts.application.machine
            async with meet(parts, config) as address, serve(home, config, parts, address) as url:
                log.info("node_started height=%d rpc=%s p2p=%s", machine.head.height, url, address)
                settle()
                ready(url)
                await _run_until_stopped(parts, stopping)
        log.info("node_stopped height=%d", machine.head.height)
    if parts.host.stop_reason:
        raise Corruption(parts.host.stop_reason)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a node is made of."""

    application: NodeApplication
    host: Host
    router: Router
    backend: NodeBackend


@contextlib.contextmanager
def open_parts(home: Home, config: Config, genesis: Genesis, key: SigningKey) -> Iterator[Parts]:
    """Open database, journal and guard and make the parts that stand on them."""
    wanted = config.verify.workers
    workers = SignatureWorkers(default_workers() if wanted < 0 else wanted)
    with contextlib.ExitStack() as closing:
        closing.callback(workers.close)
        store = closing.enter_context(Store.open(home.database, create=True))
        machine = StateMachine(store, genesis, REGISTRY)
        clock = Clock()
        if may_travel(machine):
            clock.offset_ms = max(0, machine.head.time_ms - clock.wall_ms())
        pool = NodePool(machine, clock, config.mempool)
        application = NodeApplication(machine, workers, clock, pool)
        closing.callback(application.close)
        disk, segment_bytes = Disk(), config.storage.journal_segment_bytes
        journal = JournalFile(home.journal, disk, segment_bytes=segment_bytes)
        closing.callback(journal.close)
        guard = GuardFile(home.journal / "guard", disk, quarantine=config.consensus.quarantine)
        closing.callback(guard.close)
        _check_guard(application, journal, guard, quarantine=config.consensus.quarantine)
        settings = Settings(machine.genesis_hash, machine.params, key.public_key)
        core = Core(settings, key.sign, verify_signature)
        gate = Gate()
        router = Router(key, core, application, workers, clock, gate, config.p2p)
        host = Host(core, application, journal, guard, clock, router, gate)
        start, head = application.where()
        host.begin(start, head, journal_lost=config.consensus.quarantine)
        faucet = read_key(home.faucet_key) if home.faucet_key.exists() else None
        verifier = BatchVerifier(workers, gate)
        name = config.node.name
        backend = NodeBackend(name, application, host, router, verifier, gate, clock, faucet)
        yield Parts(application, host, router, backend)


def _require_own_packages() -> None:
    """Refuse to run with another project's ``chain`` or ``state``: the names are common ones."""
    own = Path(__file__).parent.parent
    for package in (chain, consensus, rpc, state):
        place = Path(package.__file__ or "").parent.parent
        if place != own:
            raise Rejected(
                "node/ForeignPackage",
                f"the package {package.__name__} comes from {place}, not from Colophon in {own}; "
                "install Colophon in a virtual environment of its own",
            )


def _check_guard(
    application: NodeApplication, journal: JournalFile, guard: GuardFile, *, quarantine: bool
) -> None:
    """Refuse to sign with an old journal (J9), unless the operator chose quarantine."""
    if quarantine:
        return
    start, head = application.where()
    view = head.finalization.view if head is not None else 0
    check_guard(guard.entry, journal.records, start.epoch, view)


@contextlib.asynccontextmanager
async def meet(parts: Parts, config: Config) -> AsyncIterator[str]:
    """Listen for other nodes and call them; yields the address, empty if nobody can call."""
    listen = config.p2p.listen
    where = parse_address(listen, "p2p.listen") if listen else None
    try:
        try:
            yield await parts.router.open(where, parts.host.deliver)
        except Rejected as refusal:
            if refusal.code != "p2p/CannotListen":
                raise
            hint = "choose another p2p.listen in node.toml, or port 0"
            raise Rejected("node/PortInUse", f"cannot listen on {listen}; {hint}") from None
    finally:
        await parts.router.close()


@contextlib.asynccontextmanager
async def serve(home: Home, config: Config, parts: Parts, p2p: str) -> AsyncIterator[str]:
    """Serve RPC and the admin socket; yields the address."""
    rpc = config.rpc
    limits = Limits(
        body_bytes_max=rpc.body_bytes_max,
        batch_max=rpc.batch_max,
        connections_max=rpc.connections_max,
        subscriptions_max=rpc.subscriptions_max,
        queue_max=rpc.queue_max,
        requests_per_second=rpc.requests_per_second,
        allowed_origins=tuple(rpc.allowed_origins),
    )
    server = RpcServer(parts.backend, limits)
    host, port = parse_address(rpc.listen, "rpc.listen")
    try:
        bound_host, bound_port = await server.start(host, port)
    except OSError as error:
        raise Rejected(
            "node/PortInUse",
            f"cannot listen on {rpc.listen}: {os.strerror(error.errno or 0)}; "
            "choose another rpc.listen in node.toml, or port 0",
        ) from None
    url = f"http://{bound_host}:{bound_port}"
    admin = AdminServer(home.admin_socket, parts.application)
    try:
        with refusals(home.admin_socket):
            await admin.start()
        say_running(home, pid=os.getpid(), rpc=url, p2p=p2p)
        yield url
    finally:
        home.running.unlink(missing_ok=True)
        await admin.stop()
        await server.stop()


async def _run_until_stopped(parts: Parts, stopping: asyncio.Event) -> None:
    """Let run what lasts; the end of one is the end of all, for half a node helps nobody."""
    running = [
        asyncio.create_task(parts.host.run(), name="consensus"),
        asyncio.create_task(parts.router.run(), name="network"),
        asyncio.create_task(_sweep(parts.backend), name="sweeper"),
        asyncio.create_task(stopping.wait(), name="stop"),
    ]
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in reversed(running):
        task.cancel()
    for result in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(result, Exception):
            error = _first(result)
            if not isinstance(error, Rejected | Corruption | DiskFault):
                log.critical("node_failed: this is a bug", exc_info=error)
            raise error


def _first(error: Exception) -> Exception:
    """Return the one error behind a group of them: a task's own is what people need."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _sweep(backend: NodeBackend) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        backend.sweep()


def set_up_log(level: str, path: Path | None = None) -> None:
    """Log one event per line, ``time level verb key=value``, to a file or the error stream."""
    handler: logging.Handler = logging.StreamHandler()
    if path is not None:
        handler = logging.FileHandler(path)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    root = logging.getLogger("colophon")
    root.handlers = [handler]
    root.setLevel(level.upper())
    root.propagate = False
