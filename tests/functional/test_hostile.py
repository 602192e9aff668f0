"""Hostile peers against four validators as processes, over real sockets (protocol.md W9, W10).

After every attack honest traffic becomes final, memory has hardly risen, and the log has one line
that names what happened. Who provably lied is banned; who was slow, loud or unintelligible is not.
One network is attacked by strangers; of a second one, the test itself plays a validator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count

import pytest

from chain.codec import encode, encode_amount
from chain.crypto import SigningKey
from chain.ids import address_of
from chain.record import NO_FACETS
from colophon.client import Client
from colophon.flows import RpcFailed
from colophon.network.channels import (
    BLOCKS_ASKED,
    CONSENSUS,
    MISSING_ASKED,
    RANGES,
    RANGES_ASKED,
    TRANSACTIONS,
    channel_table,
)
from colophon.testnet.network import new_network
from colophon.wallet import Draft, Wallet
from consensus.gossip import TransactionsBatch
from consensus.messages import (
    BlockRequest,
    CompactProposal,
    LookbackAnswer,
    RangeRequest,
    TransactionsRequest,
    ViewRequest,
)
from p2p.channels import Channels
from p2p.frames import HEADER
from state.modules.anchor.messages import RecordInteraction
from state.modules.bank import Send
from tests.functional.lies import (
    CONSENSUS_LIES,
    FOREIGN,
    PROPOSAL_LIES,
    TRANSACTION_LIES,
    Lie,
    Scene,
)
from tests.functional.siege import CLIENTS, Siege, siege, wait_for
from tests.functional.stranger import Stranger
from tests.functional.traffic import MAX_FEE, account, rich
from tests.p2p.world import Puppet

FLOODERS = 41
"""Accounts that send more than the pools take; the clients come before them."""
DEAF = 40
"""Strangers that read nothing: with a range in its queue and one under way, each would cost the
node 8 MiB."""
POOL_MAX = 200
"""What a pool takes in these tests: the default would take a long flood to fill."""


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    """Four validators under attack from the first test on: some attacks take their time."""
    root = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLOPHON_MEMPOOL__TRANSACTIONS_MAX", str(POOL_MAX))
        with (
            new_network(root / "network", 4, rich=rich(CLIENTS + FLOODERS)) as network,
            siege(network, range(4)) as besieged,
        ):
            yield besieged


@dataclass(frozen=True, slots=True)
class Raw:
    """A connection that a test moves by hand."""

    siege: Siege
    puppet: Puppet

    @property
    def address(self) -> str:
        """Its own end, as the node's log names it."""
        host, port = self.puppet.writer.get_extra_info("sockname")
        return f"{host}:{port}"

    @property
    def is_open(self) -> bool:
        """Whether nobody is known to have closed it."""
        return not self.puppet.writer.is_closing()

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.siege.loop.do(self.puppet.writer.write, data)

    def shake_hands(self) -> None:
        """Go through the handshake, and be welcome."""
        self.siege.loop.run(self.puppet.shake_hands())
        assert self.siege.loop.run(self.puppet.hear()).data == b"\x01"

    def seal(self, size: int, number: int, request_id: int) -> bytes:
        """Return a sealed header of a message."""
        cipher = self.puppet.opening.secured.send
        return cipher.seal(HEADER.pack(size, number, request_id))


@contextmanager
def raw(
    siege: Siege,
    index: int,
    name: str,
    *,
    genesis_hash: bytes | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Raw]:
    """Connect with a node, from ``host``, and say nothing yet."""

    async def connect() -> Puppet:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", siege.port(index), local_addr=(host, 0)
        )
        return Puppet(reader, writer, name, genesis_hash or siege.genesis.hash())

    puppet = siege.loop.run(connect())
    try:
        yield Raw(siege, puppet)
    finally:
        siege.loop.do(puppet.writer.close)


@pytest.fixture(scope="module")
def slow(besieged: Siege) -> Iterator[tuple[Raw, Raw, Raw]]:
    """Three that take their time, from the first test to the last: none may hold anything up."""
    with (
        raw(besieged, 0, "half open") as half_open,
        raw(besieged, 1, "dripping handshake") as handshake,
        raw(besieged, 2, "endless frame") as endless,
    ):
        handshake.write(handshake.puppet.opening.begin()[:-1])
        endless.shake_hands()
        block = Channels(channel_table(besieged.genesis.params)).named(TRANSACTIONS)
        endless.write(endless.seal(block.bytes_max, block.number, 0) + bytes(1_000))
        yield half_open, handshake, endless


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\nHost: node\r\n\r\n", bytes(100_000), b"\x16\x03\x01\x02\x00" * 50],
    ids=["http", "zeros", "tls"],
)
def test_garbage_instead_of_a_greeting(besieged: Siege, slow: object, garbage: bytes) -> None:
    with raw(besieged, 0, "garbage") as peer:
        peer.write(garbage)
        besieged.says_once(0, f"peer_refused address={peer.address}", "code=p2p/NotColophon")
    besieged.goes_on()


def test_another_network_and_garbage_in_the_handshake(besieged: Siege) -> None:
    with raw(besieged, 1, "foreign", genesis_hash=bytes(32)) as foreign:
        foreign.write(foreign.puppet.opening.begin())
        besieged.says_once(1, f"peer_refused address={foreign.address}", "code=p2p/WrongNetwork")
    with raw(besieged, 2, "garbage") as peer:
        peer.write(peer.puppet.opening.begin() + (100).to_bytes(2, "big") + bytes(100))
        besieged.says_once(2, f"peer_refused address={peer.address}", "code=p2p/BadHandshake")
    besieged.goes_on()


def test_garbage_after_the_handshake_bans_nobody(besieged: Siege) -> None:
    with raw(besieged, 3, "corrupt") as peer:
        peer.shake_hands()
        peer.write(bytes(1_000))
        besieged.says_once(3, "peer_gone", peer.puppet.id.hex(), "code=p2p/Corrupt")
    with raw(besieged, 3, "corrupt") as peer:
        peer.shake_hands()
    besieged.goes_on()


@pytest.mark.parametrize(
    ("code", "size", "number", "request_id"),
    [
        ("p2p/TooLarge", 2**32 - 1, 1, 0),
        ("p2p/UnknownChannel", 1, 99, 0),
        ("p2p/RequestId", 1, 1, 5),
    ],
)
def test_a_header_that_no_honest_node_seals(
    besieged: Siege, code: str, size: int, number: int, request_id: int
) -> None:
    with raw(besieged, 0, code) as peer:
        peer.shake_hands()
        peer.write(peer.seal(size, number, request_id))
        besieged.says_once(0, "peer_banned", peer.puppet.id.hex(), f"code={code} ")
    with raw(besieged, 0, code) as again:
        besieged.loop.run(again.puppet.shake_hands())
        assert besieged.loop.run(again.puppet.hear()).data == b"\x02p2p/Banned"
    besieged.goes_on()


def test_unsolicited_answers_are_passed_over(besieged: Siege) -> None:
    row = Channels(channel_table(besieged.genesis.params)).named(RANGES)
    with raw(besieged, 1, "unsolicited") as peer:
        peer.shake_hands()
        for request_id in range(1, 5):
            besieged.loop.do(peer.puppet.say, row, bytes(row.bytes_max), request_id)
        besieged.says_once(1, "answer_unsolicited", peer.puppet.id.hex(), f"channel={RANGES}")
        assert not besieged.lines(1, "peer_banned", peer.puppet.id.hex())
    besieged.goes_on()


def test_lies_about_consensus(besieged: Siege) -> None:
    convict_all(besieged, CONSENSUS_LIES)


def test_lies_about_proposals_and_transactions(besieged: Siege) -> None:
    convict_all(besieged, [*PROPOSAL_LIES, *TRANSACTION_LIES])


def convict_all(besieged: Siege, lies: Sequence[Lie]) -> None:
    """Tell each lie to one node, by somebody of its own; each is banned there."""
    with ExitStack() as present:
        liars = []
        for number, lie in enumerate(lies):
            index = number % 4
            liars.append((index, lie, present.enter_context(besieged.stranger(index))))
        for index, lie, liar in liars:
            tell_until_banned(besieged, index, lie, liar)
        for index, lie, liar in liars:
            besieged.bans(index, liar, lie.code)
    besieged.goes_on()


def tell_until_banned(besieged: Siege, index: int, lie: Lie, liar: Stranger) -> None:
    """Tell a lie about the newest view until it is believed to be one; views pass quickly."""

    def told() -> bool:
        liar.say(lie.channel, lie.message(scene(besieged, liar)))
        return bool(besieged.lines(index, "peer_banned", liar.id.hex()))

    wait_for(told, f"a ban for {lie.code}")


def scene(besieged: Siege, peer: Stranger) -> Scene:
    """Return what a peer knows from the newest proposal that it has heard."""
    heard = wait_for(lambda: peer.newest(CompactProposal), "a proposal")
    return Scene(besieged.genesis, heard)


@pytest.mark.parametrize(
    ("channel", "question", "code"),
    [
        (BLOCKS_ASKED, b"\xc1", "codec/Malformed"),
        (RANGES_ASKED, ViewRequest(0, 1), "channel/WrongMessage"),
        (MISSING_ASKED, RangeRequest(1, 1), "channel/WrongMessage"),
        (BLOCKS_ASKED, RangeRequest(1, 1), "channel/WrongMessage"),
    ],
)
def test_a_question_that_is_none(
    besieged: Siege, channel: str, question: object, code: str
) -> None:
    with besieged.stranger(2) as peer:
        assert peer.ask_in_vain(besieged.id_of(2), channel, question) == "p2p/Gone"
        besieged.bans(2, peer, code)
    besieged.goes_on()


def test_questions_about_nothing_are_answered_with_nothing(besieged: Siege) -> None:
    with besieged.stranger(3) as peer:
        to = besieged.id_of(3)
        for channel, question in (
            (BLOCKS_ASKED, BlockRequest(bytes(32))),
            (MISSING_ASKED, TransactionsRequest(bytes(32), [0, 65_535])),
            (RANGES_ASKED, RangeRequest(2**63, 100)),
            (RANGES_ASKED, RangeRequest(0, 100)),
            (RANGES_ASKED, RangeRequest(1, 0)),
        ):
            assert peer.ask(to, channel, question, 30_000) == b""
        peer.say(CONSENSUS, ViewRequest(0, 2**62))
        peer.say(CONSENSUS, ViewRequest(2**62, 1))
        peer.say(CONSENSUS, LookbackAnswer(0, [], None, True))
        besieged.goes_on()
        besieged.require_welcome(peer, 3)


def test_a_flood_of_questions_slows_only_who_asks(besieged: Siege) -> None:
    with besieged.stranger(0) as peer:
        peer.flood(CONSENSUS, (ViewRequest(0, view) for view in range(8_000)))
        besieged.says_once(0, "peer_slowed", peer.id.hex(), f"channel={CONSENSUS}")
        besieged.goes_on()
        besieged.require_welcome(peer, 0)


def test_many_that_ask_for_megabytes_and_read_nothing(besieged: Siege) -> None:
    asked = Channels(channel_table(besieged.genesis.params)).named(RANGES_ASKED)
    question = encode(RangeRequest(fill_blocks(besieged), 100))
    with ExitStack() as present:
        deaf = []
        for n in range(DEAF):
            peer = raw(besieged, 3, f"deaf {n}", host=f"127.0.0.{2 + n % 4}")
            deaf.append(present.enter_context(peer))
            deaf[-1].shake_hands()
            besieged.loop.do(deaf[-1].puppet.deaf)
        request_ids = count(1)

        def pressed() -> bool:
            request_id = next(request_ids)
            for peer in deaf:
                if peer.is_open:
                    besieged.loop.do(peer.puppet.say, asked, question, request_id)
            besieged.require_modest(3)
            return len(besieged.lines(3, "peer_gone", "code=p2p/Backlog")) >= DEAF // 2

        wait_for(pressed, "strangers that are closed")
        besieged.goes_on()
    for peer in deaf:
        besieged.says_once(3, "peer_gone", peer.puppet.id.hex())
        assert not besieged.lines(3, "peer_banned", peer.puppet.id.hex())
    besieged.goes_on()


def fill_blocks(besieged: Siege) -> int:
    """Let 4 MiB of transactions become final, as much as a range has; return where they begin."""
    wallet = Wallet(account(CLIENTS + 40), besieged.genesis.hash())
    record = RecordInteraction(bytes(32), 1, NO_FACETS, [bytes([n]) * 32 for n in range(64)])
    draft = Draft(messages=[record] * 28)
    with besieged.network.client(0) as client:
        begin = int(client.call("chain.status")["height"])
        for seq in range(80):
            envelope = wallet.sign(draft, seq=seq, base_fee=0, max_fee=MAX_FEE).envelope
            last = seq % 16 == 15
            client.call("tx.submit_and_wait" if last else "tx.submit", tx="0x" + envelope.hex())
    return begin


def test_forged_and_foreign_transactions_convict_who_relays_them(besieged: Siege) -> None:
    wallet = Wallet(account(CLIENTS), besieged.genesis.hash())
    good = transfer(wallet, 0)
    forged = bytearray(good)
    forged[forged.index(b"\xc4\x40") + 10] ^= 1  # inside the signature
    foreign = transfer(Wallet(account(CLIENTS), bytes(32)), 0)
    for index, envelope, code in (
        (0, bytes(forged), "crypto/BadSignature"),
        (1, foreign, "tx/WrongNetwork"),
    ):
        with besieged.stranger(index) as peer:
            peer.say(TRANSACTIONS, TransactionsBatch([envelope]))
            besieged.bans(index, peer, code)
    besieged.goes_on()


def test_what_is_final_or_cannot_be_paid_is_no_fault_of_who_relays_it(besieged: Siege) -> None:
    genesis_hash = besieged.genesis.hash()
    old = transfer(Wallet(account(CLIENTS + 1), genesis_hash), 0)
    with besieged.network.client(2) as client:
        client.call("tx.submit_and_wait", tx="0x" + old.hex(), timeout_ms=30_000)
    poor = transfer(Wallet(SigningKey(b"\7" * 32), genesis_hash), 0)
    far = transfer(Wallet(account(CLIENTS + 1), genesis_hash), 10_000)
    with besieged.stranger(2) as peer:
        for _ in range(3):
            peer.say(TRANSACTIONS, TransactionsBatch([old, poor, far, old]))
        besieged.goes_on()
        besieged.require_welcome(peer, 2)


def transfer(wallet: Wallet, seq: int, *, tip: int = 0) -> bytes:
    """Return a valid transfer of one account."""
    draft = Draft(messages=[Send(address_of(FOREIGN[0].public_key), b"", encode_amount(1))])
    return wallet.sign(draft, seq=seq, base_fee=0, tip=tip, max_fee=MAX_FEE).envelope


def test_a_flood_of_valid_transactions_over_rpc_is_answered_busy(besieged: Siege) -> None:
    """What waits for an earlier one fills the pools; then the earlier ones come."""
    wallets = [Wallet(account(CLIENTS + 2 + n), besieged.genesis.hash()) for n in range(6)]
    with besieged.network.client(1) as client:
        refusals = [
            refusal
            for wallet in wallets
            for seq in range(1, 64)
            for refusal in refusal_of(client, transfer(wallet, seq))
        ]
        assert len(refusals) > 100 and set(refusals) == {(-32003, "pool/Full")}
        for wallet in wallets:
            refusal_of(client, transfer(wallet, 0, tip=10**6))
    besieged.goes_on()


def refusal_of(client: Client, envelope: bytes) -> list[tuple[int, str]]:
    """Return how a transaction was refused, if it was."""
    try:
        client.call("tx.submit", tx="0x" + envelope.hex())
    except RpcFailed as error:
        return [(error.code, error.reason)]
    return []


def test_a_flood_of_valid_transactions_from_peers_bans_nobody(besieged: Siege) -> None:
    wallets = [Wallet(account(CLIENTS + 8 + n), besieged.genesis.hash()) for n in range(32)]
    envelopes = [transfer(wallet, seq) for seq in range(64) for wallet in wallets]
    batches = [
        TransactionsBatch(envelopes[start : start + 400]) for start in range(0, len(envelopes), 400)
    ]
    with besieged.stranger(0, 1, 2, 3) as first, besieged.stranger(0, 1, 2, 3) as second:
        for peer in (first, second):
            peer.flood(TRANSACTIONS, batches)
        besieged.goes_on()
        for peer in (first, second):
            besieged.require_welcome(peer, 0, 1, 2, 3)


def test_who_takes_his_time_is_closed_in_the_end(besieged: Siege, slow: Sequence[Raw]) -> None:
    half_open, handshake, endless = slow
    besieged.says_once(
        0, f"peer_refused address={half_open.address}", "code=p2p/HandshakeTimeout", "no greeting"
    )
    besieged.says_once(
        1, f"peer_refused address={handshake.address}", "code=p2p/HandshakeTimeout", "no message"
    )
    besieged.says_once(2, "peer_gone", endless.puppet.id.hex(), "code=p2p/TooSlow")
    assert not besieged.lines(2, "peer_banned", endless.puppet.id.hex())
    besieged.goes_on()
