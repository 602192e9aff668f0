"""Opening a database: a new one gets the genesis state, a known one must be ours (G4)."""

from __future__ import annotations

from chain.codec import encode
from chain.errors import Corruption, Rejected
from chain.genesis import Genesis
from chain.hashing import EMPTY_ROOT

from . import layout
from .executor import Executor
from .headers import Tip
from .overlay import Overlay
from .store import KeyValueStore
from .tree import Tree


def open_database(store: KeyValueStore, genesis: Genesis, executor: Executor) -> Tip:
    """Return the head of the database, after writing the genesis state into an empty one.

    Raises ``Rejected`` (``store/ModuleVersions``, ``store/Schema``, ``store/OtherNetwork``,
    ``genesis/…``).
    """
    _require_versions(genesis, executor)
    if store.get(layout.META_HEAD) is None:
        _write_genesis(store, genesis, executor)
    _require_ours(store, genesis)
    return _read_head(store)


def head_row(tip: Tip) -> layout.Head:
    """Return the row that names the head."""
    return layout.Head(
        tip.height,
        tip.block_id,
        tip.time_ms,
        tip.base_fee,
        tip.units,
        tip.state_root,
        tip.receipts_root,
    )


def _write_genesis(store: KeyValueStore, genesis: Genesis, executor: Executor) -> None:
    overlay = Overlay(lambda _: None)
    executor.genesis(overlay, genesis)
    pairs = [(key, value) for key, value in overlay.writes.items() if value is not None]
    tip = Tip(
        genesis.hash(),
        0,
        genesis.time_ms,
        genesis.params.base_fee_genesis,
        0,
        Tree.build(pairs).root,
        EMPTY_ROOT,
    )
    rows: list[tuple[bytes, bytes | None]] = [(layout.STATE + key, value) for key, value in pairs]
    rows.append((layout.META_SCHEMA, encode(layout.SchemaRow(layout.SCHEMA))))
    rows.append((layout.META_GENESIS, encode(genesis)))
    rows.append((layout.META_HEAD, encode(head_row(tip))))
    store.write(rows, sync=True)


def _require_versions(genesis: Genesis, executor: Executor) -> None:
    """Rows and rules are of one version of each family; a release runs no other (G2)."""
    ours = {module.name: module.version for module in executor.registry.modules}
    wanted = {entry.name: entry.version for entry in genesis.params.modules}
    for name in sorted(ours.keys() | wanted.keys()):
        if ours.get(name) != wanted.get(name):
            raise Rejected(
                "store/ModuleVersions",
                f"this network was made for version {wanted.get(name, 'none')} of {name!r}, this "
                f"release has {ours.get(name, 'none')}: start the release that made the network, "
                "or make a new one with `colophon testnet` or `colophon genesis new`",
                module=name,
            )


def _require_ours(store: KeyValueStore, genesis: Genesis) -> None:
    schema = store.get(layout.META_SCHEMA)
    version = layout.SCHEMA_ROW.decode_own(schema).version if schema else 0
    if version != layout.SCHEMA:
        raise Rejected(
            "store/Schema",
            f"the database has schema {version}, this release reads {layout.SCHEMA}: "
            "start the release that wrote it, or `colophon node reset --keep-keys`",
        )
    if store.get(layout.META_GENESIS) != encode(genesis):
        raise Rejected(
            "store/OtherNetwork",
            "the database belongs to another genesis than the one in this home",
        )


def _read_head(store: KeyValueStore) -> Tip:
    raw = store.get(layout.META_HEAD)
    if raw is None:
        raise Corruption("the database has no head row")
    row = layout.HEAD.decode_own(raw)
    return Tip(
        row.block_id,
        row.height,
        row.time_ms,
        row.base_fee,
        row.units,
        row.state_root,
        row.receipts_root,
    )
