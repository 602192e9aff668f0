"""A node's address for programs with asyncio: the workflows of ``flows.py`` over aiohttp."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import aiohttp

from chain.crypto import SigningKey
from chain.errors import ColophonError, Rejected
from chain.types import COLO

from .client import DAY_MS, DEFAULT_PORT, MINUTE_MS, TIMEOUT_S, node_url
from .flows import (
    Call,
    Flow,
    Outcome,
    Pause,
    RpcFailed,
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
from .receipts import Place
from .recorder import DEFAULTS, Noted, RecorderOptions, Session, begin_flow, require_session
from .wallet import Draft, Wallet

T = TypeVar("T")


class AsyncClient:
    """A node, spoken to call by call; use it in an ``async with`` block."""

    def __init__(self, url: str | None = None) -> None:
        """``url``: where the node answers; default: $COLOPHON_NODE, else port 26657 here."""
        found = node_url(url)
        self.url = found if "//" in found else f"http://{found}"
        if self.url.count(":") < 2:
            self.url += f":{DEFAULT_PORT}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, /, **params: Any) -> Any:
        """Call an RPC method and return its result; raises ``RpcFailed`` or ``Unreachable``."""
        return await self._call(Call(method, params))

    async def _call(self, call: Call | Pause) -> Any:
        if isinstance(call, Pause):
            await asyncio.sleep(call.ms / 1000)
            return None
        if self._session is None:
            raise Rejected("client/NotOpen", "use `async with AsyncClient(url) as client`")
        try:
            async with self._session.post(self.url, json=request_of(call)) as response:
                answer = await response.json(content_type=None)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Unreachable(f"no node answers at {self.url} ({error})") from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise RpcFailed(0, f"{self.url} does not answer as a Colophon node", None) from None
        return result_of(answer)

    async def run(self, flow: Flow[T]) -> T:
        """Drive a workflow to its end."""
        try:
            call = next(flow)
            while True:
                try:
                    result = await self._call(call)
                except ColophonError as error:
                    call = flow.throw(error)
                else:
                    call = flow.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value

    async def wallet(self, key: SigningKey) -> Wallet:
        """Return a wallet for this node's network."""
        return Wallet(key, *await self.run(network_flow()))

    async def faucet(self, address: str, amount: int = 1_000 * COLO) -> None:
        """Take ncolo from a development network's faucet and wait until it is there."""
        await self.run(faucet_flow(address, amount))

    async def send(self, wallet: Wallet, draft: Draft, **options: Any) -> Outcome:
        """Sign, submit and wait for finality; options: lane, tip, valid_until, max_fee, seq."""
        return await self.run(send_flow(wallet, draft, **options))

    async def register(
        self, wallet: Wallet, *, terms: str | None = None,
        config: dict[str, Any] | None = None, **fields: Any,
    ) -> Outcome:  # fmt: skip
        """Register an IP (fields of ``ip.register``) and offer it under ``terms``."""
        return await self.run(register_flow(wallet, fields, terms, config))

    async def register_derivative(
        self, wallet: Wallet, *, parents: Sequence[dict[str, Any]],
        max_minting_fee: int | None = None, **fields: Any,
    ) -> Outcome:  # fmt: skip
        """Register an IP as derivative of ``parents``, each ``{"ip", "terms"}`` or with a lot."""
        return await self.run(derive_flow(wallet, fields, parents, max_minting_fee))

    async def mint_license(
        self, wallet: Wallet, licensor: str, terms: str, *, amount: int = 1,
        receiver: str | None = None, max_minting_fee: int | None = None,
    ) -> Outcome:  # fmt: skip
        """Mint licences of an IP as one lot, by default for the wallet's own account."""
        return await self.run(mint_flow(wallet, licensor, terms, amount, receiver, max_minting_fee))

    async def pay(
        self, wallet: Wallet, ip: str, amount: int, *, denom: str = "ncolo",
        reference: bytes | None = None,
    ) -> Outcome:  # fmt: skip
        """Pay an IP ``amount`` of the denomination's smallest unit."""
        return await self.run(pay_flow(wallet, ip, amount, denom, reference))

    async def claim_all(self, wallet: Wallet, ip: str, denom: str = "ncolo") -> list[Outcome]:
        """Collect all an IP has earned, in as many claims as it takes; none if there is nothing."""
        return await self.run(claim_all_flow(wallet, ip, denom))

    async def open_log(
        self, wallet: Wallet, *, schema: str = "colophon/interaction/1",
        retention_ms: int = 90 * DAY_MS, max_merge_delay_ms: int = 10 * MINUTE_MS,
        writers: Sequence[dict[str, str]] = (),
    ) -> Outcome:  # fmt: skip
        """Open a log of interactions."""
        flow = open_log_flow(wallet, schema, retention_ms, max_merge_delay_ms, writers)
        return await self.run(flow)

    def recorder(
        self, log: str, wallet: Wallet, directory: str | Path,
        options: RecorderOptions = DEFAULTS,
    ) -> AsyncRecorder:  # fmt: skip
        """Return a recorder of interactions, to be used in an ``async with`` block (docs/sdk.md).

        ``directory`` keeps the receipts: secrets, contents and places, which nobody else has.
        """
        return AsyncRecorder(self.run, begin_flow(log, wallet, Path(directory), options))


class RunAsync(Protocol):
    """Drives a workflow to its end without blocking."""

    def __call__(self, flow: Flow[T], /) -> Awaitable[T]:
        """Return what the workflow returns."""
        ...


class AsyncRecorder:
    """The same for programs with asyncio; calls of one recorder take turns."""

    def __init__(self, run: RunAsync, begin: Flow[Session]) -> None:
        self._run = run
        self._begin = begin
        self._session: Session | None = None
        self._turn = asyncio.Lock()

    @property
    def session(self) -> Session:
        """The session behind it; ``recorder/NotOpen`` outside of the ``with`` block."""
        return require_session(self._session)

    async def __aenter__(self) -> Self:
        self._session = await self._run(self._begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        session = self.session
        try:
            if kind is None:
                await self.flush()
        finally:
            session.store.close()

    async def record(self, form: Mapping[str, Any] | None = None, /, **fields: Any) -> Noted:
        """Keep one interaction and anchor the batch when it is due."""
        session = self.session
        noted = session.note({**(form or {}), **fields})
        if session.is_due():
            await self.flush()
        return noted

    async def flush(self) -> list[Place]:
        """Anchor everything now."""
        async with self._turn:
            return await self._run(self.session.flush_flow())
