"""A node's address, for programs without asyncio: scripts, notebooks, the command line.

The workflows stand in ``flows.py``; here is only what carries them over the standard library's
HTTP. ``async_client.py`` is the same for programs with asyncio.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from chain.crypto import SigningKey
from chain.errors import ColophonError, Rejected
from chain.types import COLO

from .flows import (
    Call,
    Flow,
    Outcome,
    Pause,
    RpcFailed,
    TransactionFailed,
    Unreachable,
    claim_all_flow,
    derive_flow,
    faucet_flow,
    mint_flow,
    network_flow,
    open_log_flow,
    pay_flow,
    register_flow,
    request_of,
    result_of,
    send_flow,
)
from .recorder import DEFAULTS, Recorder, RecorderOptions, begin_flow
from .wallet import Draft, Wallet

__all__ = ["Client", "Outcome", "RpcFailed", "TransactionFailed", "Unreachable"]

T = TypeVar("T")
TIMEOUT_S = 60
DEFAULT_URL = "http://127.0.0.1:26657"
DEFAULT_PORT = 26657
NODE_VARIABLE = "COLOPHON_NODE"
DAY_MS = 86_400_000
MINUTE_MS = 60_000


def node_url(url: str | None) -> str:
    """Return the given address, else that of the environment, else the default."""
    return url or os.environ.get(NODE_VARIABLE) or DEFAULT_URL


class Client:
    """A node, spoken to call by call."""

    def __init__(self, url: str | None = None, *, timeout_s: int = TIMEOUT_S) -> None:
        """``url``: where the node answers; default: $COLOPHON_NODE, else port 26657 here.

        A call that is not answered within ``timeout_s`` seconds raises ``Unreachable``.
        """
        url = node_url(url)
        parsed = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
        if not parsed.hostname:
            raise Rejected("client/BadAddress", f"{url!r} is no address of a node")
        self.url = f"http://{parsed.netloc}" if parsed.port else f"http://{parsed.hostname}:26657"
        self._connection = http.client.HTTPConnection(
            parsed.hostname, parsed.port or DEFAULT_PORT, timeout=timeout_s
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def call(self, method: str, /, **params: Any) -> Any:
        """Call an RPC method and return its result; raises ``RpcFailed`` or ``Unreachable``."""
        return self._call(Call(method, params))

    def _call(self, call: Call | Pause) -> Any:
        if isinstance(call, Pause):
            time.sleep(call.ms / 1000)
            return None
        body = json.dumps(request_of(call))
        headers = {"Content-Type": "application/json"}
        try:
            self._connection.request("POST", "/", body, headers)
            raw = self._connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable(
                f"no node answers at {self.url} ({error}); is it running? "
                "`colophon testnet dev` starts one"
            ) from None
        try:
            return result_of(json.loads(raw))
        except ValueError:
            raise RpcFailed(0, f"{self.url} does not answer as a Colophon node", None) from None

    def run(self, flow: Flow[T]) -> T:
        """Drive a workflow to its end."""
        try:
            call = next(flow)
            while True:
                try:
                    result = self._call(call)
                except ColophonError as error:
                    call = flow.throw(error)
                else:
                    call = flow.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value

    def wallet(self, key: SigningKey) -> Wallet:
        """Return a wallet for this node's network."""
        return Wallet(key, *self.run(network_flow()))

    def faucet(self, address: str, amount: int = 1_000 * COLO) -> None:
        """Take ncolo from a development network's faucet and wait until it is there."""
        self.run(faucet_flow(address, amount))

    def send(self, wallet: Wallet, draft: Draft, **options: Any) -> Outcome:
        """Sign, submit and wait for finality; options: lane, tip, valid_until, max_fee, seq."""
        return self.run(send_flow(wallet, draft, **options))

    def register(
        self, wallet: Wallet, *, terms: str | None = None,
        config: dict[str, Any] | None = None, **fields: Any,
    ) -> Outcome:  # fmt: skip
        """Register an IP (fields of ``ip.register``) and offer it under ``terms``."""
        return self.run(register_flow(wallet, fields, terms, config))

    def register_derivative(
        self, wallet: Wallet, *, parents: Sequence[dict[str, Any]],
        max_minting_fee: int | None = None, **fields: Any,
    ) -> Outcome:  # fmt: skip
        """Register an IP as derivative of ``parents``, each ``{"ip", "terms"}`` or with a lot."""
        return self.run(derive_flow(wallet, fields, parents, max_minting_fee))

    def mint_license(
        self, wallet: Wallet, licensor: str, terms: str, *, amount: int = 1,
        receiver: str | None = None, max_minting_fee: int | None = None,
    ) -> Outcome:  # fmt: skip
        """Mint licences of an IP as one lot, by default for the wallet's own account."""
        return self.run(mint_flow(wallet, licensor, terms, amount, receiver, max_minting_fee))

    def pay(
        self, wallet: Wallet, ip: str, amount: int, *, denom: str = "ncolo",
        reference: bytes | None = None,
    ) -> Outcome:  # fmt: skip
        """Pay an IP ``amount`` of the denomination's smallest unit."""
        return self.run(pay_flow(wallet, ip, amount, denom, reference))

    def claim_all(self, wallet: Wallet, ip: str, denom: str = "ncolo") -> list[Outcome]:
        """Collect all an IP has earned, in as many claims as it takes; none if there is nothing."""
        return self.run(claim_all_flow(wallet, ip, denom))

    def open_log(
        self, wallet: Wallet, *, schema: str = "colophon/interaction/1",
        retention_ms: int = 90 * DAY_MS, max_merge_delay_ms: int = 10 * MINUTE_MS,
        writers: Sequence[dict[str, str]] = (),
    ) -> Outcome:  # fmt: skip
        """Open a log of interactions."""
        flow = open_log_flow(wallet, schema, retention_ms, max_merge_delay_ms, writers)
        return self.run(flow)

    def recorder(
        self, log: str, wallet: Wallet, directory: str | Path,
        options: RecorderOptions = DEFAULTS,
    ) -> Recorder:  # fmt: skip
        """Return a recorder of interactions, to be used in a ``with`` block (docs/sdk.md).

        ``directory`` keeps the receipts: secrets, contents and places, which nobody else has.
        """
        return Recorder(self.run, begin_flow(log, wallet, Path(directory), options))
