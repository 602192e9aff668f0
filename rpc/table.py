"""The whole table of methods of one node; its names are a golden list in the tests."""

from __future__ import annotations

from typing import Any

from .backend import Backend
from .chain_methods import ChainMethods
from .dev_methods import DevMethods
from .event_methods import event_methods
from .methods import Method, family_methods, method, table_of
from .openrpc import make_document
from .tx_methods import TxMethods


def make_table(backend: Backend) -> dict[str, Method]:
    """Return every method this node answers; ``dev.*`` only where the genesis says so."""
    reader = backend.reader
    discovery = _Discovery(backend)
    methods = [
        *ChainMethods(backend).methods(),
        *TxMethods(backend).methods(),
        *family_methods(reader.machine.registry, reader),
        *event_methods(),
        method("rpc.discover", discovery.discover),
    ]
    if reader.machine.params.dev:
        methods += DevMethods(backend).methods()
    discovery.table = table_of(methods)
    return discovery.table


class _Discovery:
    """Makes the OpenRPC document, again only when the chain has moved on."""

    def __init__(self, backend: Backend) -> None:
        self.table: dict[str, Method] = {}
        self._backend = backend
        self._height = -1
        self._document: dict[str, Any] = {}

    def discover(self) -> dict[str, Any]:
        """Return the OpenRPC 1.3 document of this node: methods, schemas, errors, examples."""
        height = self._backend.reader.machine.head.height
        if height != self._height:
            self._document = make_document(
                self.table,
                self._backend.reader,
                version=self._backend.status().version,
                content=self._backend.reader.blob,
            )
            self._height = height
        return self._document
