"""What clients do, as generators without a network (docs/sdk.md).

A workflow yields the calls it wants and is sent their results, so the same code serves programs
with and without asyncio, and tests that answer by themselves. Drivers: ``client.py``,
``async_client.py``.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from chain.errors import ColophonError, Rejected
from chain.ids import Kind, format_id
from chain.json_form import record_from_json
from chain.params import Params
from state.modules.royalty.messages import SOURCES_MAX

from .wallet import Draft, Signed, Wallet

T = TypeVar("T")
WAIT_MS = 30_000
"""How long ``send`` waits for finality before it says so."""
FEE_HORIZON = 10
"""Blocks for which a fee must be enough: a transaction waits no longer unless blocks are full."""
LINK_UNITS = 20_000
"""Metered units offered for a link; half is charged, lineages of some hundreds fit."""
SOURCES_ASKED = 200
"""Sources asked for at once."""

FAUCET_PAUSE_MS = 50
FAUCET_PAUSES_MAX = 600
"""Half a minute, as for any other transaction."""

NOT_FOUND = -32001
UNAVAILABLE = -32002


@dataclass(frozen=True, slots=True)
class Call:
    """One RPC call that a workflow asks for."""

    method: str
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pause:
    """A workflow waits for the chain to move on."""

    ms: int


Flow = Generator[Call | Pause, Any, T]


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
        self.message = message


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

    @property
    def ids(self) -> tuple[str, ...]:
        """``created`` as text."""
        return tuple(format_id(raw) for raw in self.created)


def request_of(call: Call) -> dict[str, Any]:
    """Return the JSON-RPC request of a call."""
    return {"jsonrpc": "2.0", "id": 1, "method": call.method, "params": call.params}


def result_of(answer: Any) -> Any:
    """Return the result in a JSON-RPC answer; raises ``RpcFailed``."""
    if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
        raise RpcFailed(0, "the address answers, but not as a Colophon node", None)
    if "error" in answer:
        error = answer["error"]
        raise RpcFailed(error["code"], error["message"], error.get("data"))
    return answer["result"]


# --- transactions -----------------------------------------------------------------------------


def send_flow(
    wallet: Wallet, draft: Draft, *, lane: int = 0, tip: int = 0, valid_until: int = 0,
    max_fee: int | None = None, seq: int | None = None, created: Sequence[bytes] = (),
) -> Flow[Outcome]:  # fmt: skip
    """Sign a draft, submit it, wait until it is final; options as in ``sign_flow``."""
    signed = yield from sign_flow(
        wallet, draft, lane=lane, tip=tip, valid_until=valid_until, max_fee=max_fee, seq=seq
    )
    return (yield from submit_flow(signed, created))


def sign_flow(
    wallet: Wallet, draft: Draft, *, lane: int = 0, tip: int = 0, valid_until: int = 0,
    max_fee: int | None = None, seq: int | None = None,
) -> Flow[Signed]:  # fmt: skip
    """Sign a draft; by default at the lane's next sequence number and for twice today's fee."""
    if seq is None:
        seq = yield from next_seq_flow(wallet, lane)
    fee = yield Call("tx.fee", {"horizon": FEE_HORIZON})
    return wallet.sign(
        draft,
        seq=seq,
        base_fee=int(fee["suggested_base_fee"]),
        lane=lane,
        tip=tip,
        valid_until=valid_until,
        max_fee=max_fee,
    )


def submit_flow(signed: Signed, created: Sequence[bytes] = ()) -> Flow[Outcome]:
    """Submit a signed transaction and wait; raises ``TransactionFailed`` if it was undone."""
    params = {"tx": "0x" + signed.envelope.hex(), "timeout_ms": WAIT_MS}
    view = yield Call("tx.submit_and_wait", params)
    receipt = view["receipt"]
    if receipt["code"]:
        raise TransactionFailed(receipt, view.get("message", ""))
    return Outcome("0x" + signed.id.hex(), int(view["height"]), receipt, tuple(created))


def next_seq_flow(wallet: Wallet, lane: int = 0) -> Flow[int]:
    """Return the sequence number the account's next transaction of a lane has."""
    nonce = yield Call("account.nonce", {"address": wallet.address_text, "lane": lane})
    return int(nonce["next"])


def create_flow(wallet: Wallet, draft: Draft, kinds: Sequence[tuple[int, Kind]]) -> Flow[Outcome]:
    """Send a draft that makes objects: ``kinds`` names (message index, kind) of each."""
    seq = yield from next_seq_flow(wallet)
    created = [wallet.next_id(kind, seq, path=(index,)) for index, kind in kinds]
    return (yield from send_flow(wallet, draft, seq=seq, created=created))


# --- what people do most ----------------------------------------------------------------------


def register_flow(
    wallet: Wallet, fields: dict[str, Any], terms: str | None, config: dict[str, Any] | None
) -> Flow[Outcome]:
    """Register an IP and, if ``terms`` are named, offer it under them: one transaction."""
    seq = yield from next_seq_flow(wallet)
    ip = wallet.next_id(Kind.IP, seq)
    draft = Draft().add("ip.register", **fields)
    if terms is not None:
        draft.add("license.attach", ip=format_id(ip), terms=terms, config=config)
    return (yield from send_flow(wallet, draft, seq=seq, created=[ip]))


def derive_flow(
    wallet: Wallet, fields: dict[str, Any], parents: Sequence[dict[str, Any]], max_fee: int | None
) -> Flow[Outcome]:
    """Register an IP as derivative of its parents: one transaction."""
    seq = yield from next_seq_flow(wallet)
    ip = wallet.next_id(Kind.IP, seq)
    draft = Draft().add("ip.register", **fields)
    draft.add(
        "license.register_derivative",
        child=format_id(ip),
        parents=list(parents),
        max_minting_fee=None if max_fee is None else str(max_fee),
        max_units=LINK_UNITS,
    )
    return (yield from send_flow(wallet, draft, seq=seq, created=[ip]))


def mint_flow(
    wallet: Wallet, licensor: str, terms: str, amount: int, receiver: str | None,
    max_fee: int | None,
) -> Flow[Outcome]:  # fmt: skip
    """Mint licences of an IP; the lot's id is in ``created``."""
    draft = Draft().add(
        "license.mint",
        licensor=licensor,
        terms=terms,
        amount=amount,
        receiver=receiver or wallet.address_text,
        max_minting_fee=None if max_fee is None else str(max_fee),
    )
    return (yield from create_flow(wallet, draft, [(0, Kind.LOT)]))


def pay_flow(
    wallet: Wallet, ip: str, amount: int, denom: str, reference: bytes | None
) -> Flow[Outcome]:
    """Pay an IP; its ancestors get their shares when they claim."""
    draft = Draft().add(
        "royalty.pay",
        ip=ip,
        denom=denom,
        amount=str(amount),
        reference=None if reference is None else "0x" + reference.hex(),
    )
    return (yield from send_flow(wallet, draft))


def claim_all_flow(wallet: Wallet, ip: str, denom: str = "ncolo") -> Flow[list[Outcome]]:
    """Settle what all descendants owe an IP and pay its holder, in as many claims as it takes.

    Each claim has the sources that its units allow. Returns nothing if there is nothing.
    """
    units_max = int((yield Call("chain.params", {}))["tx_units_max"])
    outcomes: list[Outcome] = []
    waiting: list[dict[str, Any]] = []
    where: dict[str, Any] | None = {}
    while where is not None:
        given = {"ip": ip, "denom": denom, "limit": SOURCES_ASKED}
        page = yield Call("royalty.sources", given | where)
        for source in page["items"]:
            if waiting and not _fits(wallet, ip, denom, [*waiting, source], units_max):
                outcomes.append((yield from send_flow(wallet, _claim(ip, denom, waiting))))
                waiting = []
            waiting.append(source)
        where = None if page["cursor"] is None else {"cursor": page["cursor"]}
    if not waiting:
        own = yield Call("royalty.claimable", {"ip": ip, "denom": denom})
        if own["amount"] == "0":
            return []
    outcomes.append((yield from send_flow(wallet, _claim(ip, denom, waiting))))
    return outcomes


def _fits(
    wallet: Wallet, ip: str, denom: str, sources: Sequence[dict[str, Any]], units_max: int
) -> bool:
    """Tell whether one claim can have these sources."""
    if len(sources) > SOURCES_MAX:
        return False
    return wallet.units(_claim(ip, denom, sources)) <= units_max


def _claim(ip: str, denom: str, sources: Sequence[dict[str, Any]]) -> Draft:
    """Return a claim of sources as ``royalty.sources`` names them."""
    return Draft().add(
        "royalty.claim",
        ip=ip,
        denoms=[denom],
        sources=[source["source"] for source in sources],
        holders=[],
        may_be_empty=bool(sources),  # somebody else may settle them meanwhile
        max_units=sum(int(source["units"]) for source in sources),
    )


def open_log_flow(
    wallet: Wallet, schema: str, retention_ms: int, max_merge_delay_ms: int,
    writers: Sequence[dict[str, str]],
) -> Flow[Outcome]:  # fmt: skip
    """Open a log of interactions; its id is in ``created``."""
    draft = Draft().add(
        "anchor.open_log",
        schema=schema,
        writers=list(writers),
        retention=retention_ms,
        max_merge_delay=max_merge_delay_ms,
    )
    return (yield from create_flow(wallet, draft, [(0, Kind.LOG)]))


def faucet_flow(address: str, amount: int) -> Flow[None]:
    """Take money from a development network's faucet; returns once it is final."""
    sent = yield Call("dev.faucet", {"address": address, "amount": str(amount)})
    for _ in range(FAUCET_PAUSES_MAX):
        view = yield Call("tx.get", {"id": sent["id"]})
        if view["state"] in ("final", "proven"):
            return
        yield Pause(FAUCET_PAUSE_MS)
    raise Rejected("client/FaucetDry", "the faucet's transaction did not become final")


def network_flow() -> Flow[tuple[bytes, Params]]:
    """Return genesis hash and parameters of the node's network: what a wallet signs and pays by."""
    genesis_hash = yield from genesis_hash_flow()
    params: Params = record_from_json(Params, (yield Call("chain.params", {})), "params")
    return genesis_hash, params


def genesis_hash_flow() -> Flow[bytes]:
    """Return the hash of the node's network; refuses an answer that is none."""
    status = yield Call("chain.status", {})
    try:
        digest = bytes.fromhex(status["genesis_hash"].removeprefix("0x"))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Rejected("client/NoGenesisHash", "the node does not say its network") from None
    return digest
