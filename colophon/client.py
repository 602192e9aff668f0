"""Talking to a node: one set of workflows, driven with or without asyncio (docs/sdk.md).

A workflow is a generator that yields calls and is sent their results; it knows no network.
``AsyncClient`` drives it over aiohttp, ``Client`` over the standard library's HTTP, so both do
exactly the same.
"""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import aiohttp

from chain.crypto import SigningKey
from chain.errors import ColophonError, Rejected
from chain.ids import Kind, format_id

from .wallet import Draft, Signed, Wallet

T = TypeVar("T")
TIMEOUT_S = 60
WAIT_MS = 30_000
"""How long ``send`` waits for finality before it says so."""


@dataclass(frozen=True, slots=True)
class Call:
    """One RPC call that a workflow asks for."""

    method: str
    params: dict[str, Any]


Flow = Generator[Call, Any, T]


class RpcFailed(ColophonError):
    """The node answered with an error; ``code`` is the JSON-RPC code, ``reason`` the protocol's."""

    def __init__(self, code: int, message: str, data: object) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        fields = data if isinstance(data, dict) else {}
        self.reason: str = fields.get("code") or ""
        self.details: dict[str, Any] = fields.get("details") or {}

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.reason else self.message


class TransactionFailed(ColophonError):
    """A transaction is final, but its messages were undone; ``receipt`` says why."""

    def __init__(self, receipt: dict[str, Any], message: str) -> None:
        super().__init__(f"{receipt['code']}: {message}")
        self.receipt = receipt
        self.code: str = receipt["code"]


class Unreachable(ColophonError):
    """No node answers at the address."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A final transaction that succeeded."""

    id: str
    height: int
    receipt: dict[str, Any]
    created: tuple[bytes, ...]
    """Ids that the workflow computed before it sent, in the order of its messages."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """The typed events, as JSON objects."""
        events: list[dict[str, Any]] = self.receipt["events"]
        return events


# --- workflows --------------------------------------------------------------------------------


def send_flow(
    wallet: Wallet, draft: Draft, *, lane: int = 0, tip: int = 0, created: Sequence[bytes] = ()
) -> Flow[Outcome]:
    """Sign a draft with the account's next sequence number, submit it, wait until it is final."""
    signed = yield from sign_flow(wallet, draft, lane=lane, tip=tip)
    return (yield from submit_flow(signed, created))


def sign_flow(wallet: Wallet, draft: Draft, *, lane: int = 0, tip: int = 0) -> Flow[Signed]:
    """Sign a draft at the account's next sequence number and today's base fee."""
    nonce = yield Call("account.nonce", {"address": wallet.address_text, "lane": lane})
    fee = yield Call("tx.fee", {"horizon": 10})
    base_fee = int(fee["suggested_base_fee"])
    return wallet.sign(draft, seq=int(nonce["next"]), base_fee=base_fee, lane=lane, tip=tip)


def submit_flow(signed: Signed, created: Sequence[bytes] = ()) -> Flow[Outcome]:
    """Submit a signed transaction and wait; raises ``TransactionFailed`` if it was undone."""
    params = {"tx": "0x" + signed.envelope.hex(), "timeout_ms": WAIT_MS}
    view = yield Call("tx.submit_and_wait", params)
    receipt = view["receipt"]
    if receipt["code"]:
        raise TransactionFailed(receipt, view.get("message", ""))
    return Outcome("0x" + signed.id.hex(), int(view["height"]), receipt, tuple(created))


def create_flow(wallet: Wallet, draft: Draft, kinds: Sequence[tuple[int, Kind]]) -> Flow[Outcome]:
    """Send a draft that makes objects: ``kinds`` names (message index, kind) of each."""
    nonce = yield Call("account.nonce", {"address": wallet.address_text})
    seq = int(nonce["next"])
    created = [wallet.next_id(kind, seq, path=(index,)) for index, kind in kinds]
    return (yield from send_flow(wallet, draft, created=created))


def register_flow(
    wallet: Wallet, fields: dict[str, Any], terms: str | None, config: dict[str, Any] | None
) -> Flow[Outcome]:
    """Register an IP and, if ``terms`` are named, offer it under them: one transaction."""
    nonce = yield Call("account.nonce", {"address": wallet.address_text})
    ip = wallet.next_id(Kind.IP, int(nonce["next"]))
    draft = Draft().add("ip.register", **fields)
    if terms is not None:
        draft.add("license.attach", ip=format_id(ip), terms=terms, config=config)
    return (yield from send_flow(wallet, draft, created=[ip]))


def derive_flow(
    wallet: Wallet, fields: dict[str, Any], parents: Sequence[dict[str, Any]], max_fee: int | None
) -> Flow[Outcome]:
    """Register an IP as derivative of its parents: one transaction."""
    nonce = yield Call("account.nonce", {"address": wallet.address_text})
    ip = wallet.next_id(Kind.IP, int(nonce["next"]))
    draft = Draft().add("ip.register", **fields)
    draft.add(
        "license.register_derivative",
        child=format_id(ip),
        parents=list(parents),
        max_minting_fee=None if max_fee is None else str(max_fee),
        max_units=20_000,
    )
    return (yield from send_flow(wallet, draft, created=[ip]))


def claim_all_flow(wallet: Wallet, ip: str, denom: str = "ncolo") -> Flow[Outcome | None]:
    """Settle what all descendants owe an IP and pay its holder; None if there is nothing."""
    sources = yield Call("royalty.sources", {"ip": ip, "denom": denom})
    own = yield Call("royalty.claimable", {"ip": ip, "denom": denom})
    if not sources and own["amount"] == "0":
        return None
    names = [source["source"] for source in sources][:1_024]
    draft = Draft().add(
        "royalty.claim",
        ip=ip,
        denoms=[denom],
        sources=names,
        holders=[],
        max_units=40_000 if names else 0,
    )
    return (yield from send_flow(wallet, draft))


# --- drivers ----------------------------------------------------------------------------------


def _request(call: Call) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": call.method, "params": call.params}


def _result(answer: Any) -> Any:
    if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
        raise RpcFailed(0, "the address answers, but not as a Colophon node", None)
    if "error" in answer:
        error = answer["error"]
        raise RpcFailed(error["code"], error["message"], error.get("data"))
    return answer["result"]


class Client:
    """A node's address, for programs without asyncio (scripts, notebooks, the command line)."""

    def __init__(self, url: str = "http://127.0.0.1:26657") -> None:
        parsed = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
        if not parsed.hostname:
            raise Rejected("client/BadAddress", f"{url!r} is no address of a node")
        self.url = f"http://{parsed.hostname}:{parsed.port or 26657}"
        self._connection = http.client.HTTPConnection(
            parsed.hostname, parsed.port or 26657, timeout=TIMEOUT_S
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def call(self, method: str, **params: Any) -> Any:
        """Call an RPC method and return its result; raises ``RpcFailed`` or ``Unreachable``."""
        return self._call(Call(method, params))

    def _call(self, call: Call) -> Any:
        body = json.dumps(_request(call))
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
            return _result(json.loads(raw))
        except json.JSONDecodeError:
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
        status = self.call("chain.status")
        return Wallet(key, bytes.fromhex(status["genesis_hash"][2:]))

    def send(self, wallet: Wallet, draft: Draft, **options: Any) -> Outcome:
        """Sign, submit and wait for finality."""
        return self.run(send_flow(wallet, draft, **options))

    def register(
        self, wallet: Wallet, *, terms: str | None = None,
        config: dict[str, Any] | None = None, **fields: Any,
    ) -> Outcome:  # fmt: skip
        """Register an IP and offer it under ``terms``."""
        return self.run(register_flow(wallet, fields, terms, config))

    def register_derivative(
        self, wallet: Wallet, *, parents: Sequence[dict[str, Any]],
        max_minting_fee: int | None = None, **fields: Any,
    ) -> Outcome:  # fmt: skip
        """Register an IP as derivative of ``parents``."""
        return self.run(derive_flow(wallet, fields, parents, max_minting_fee))

    def claim_all(self, wallet: Wallet, ip: str, denom: str = "ncolo") -> Outcome | None:
        """Collect everything an IP has earned."""
        return self.run(claim_all_flow(wallet, ip, denom))


class AsyncClient:
    """The same for programs with asyncio."""

    def __init__(self, url: str = "http://127.0.0.1:26657") -> None:
        self.url = url if "//" in url else f"http://{url}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, **params: Any) -> Any:
        """Call an RPC method and return its result; raises ``RpcFailed`` or ``Unreachable``."""
        return await self._call(Call(method, params))

    async def _call(self, call: Call) -> Any:
        if self._session is None:
            raise Rejected("client/NotOpen", "use `async with AsyncClient(url) as client`")
        try:
            async with self._session.post(self.url, json=_request(call)) as response:
                answer = await response.json(content_type=None)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Unreachable(f"no node answers at {self.url} ({error})") from None
        except json.JSONDecodeError:
            raise RpcFailed(0, f"{self.url} does not answer as a Colophon node", None) from None
        return _result(answer)

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
        status = await self.call("chain.status")
        return Wallet(key, bytes.fromhex(status["genesis_hash"][2:]))

    async def send(self, wallet: Wallet, draft: Draft, **options: Any) -> Outcome:
        """Sign, submit and wait for finality."""
        return await self.run(send_flow(wallet, draft, **options))
