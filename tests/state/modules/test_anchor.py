"""The native family ``anchor``: its rules (N-anchor.1 – N-anchor.5).

Messages run one by one on a state in memory, each as a transaction of its own: a refused one
leaves no trace. Every code is reached; golden vectors fix the bytes of messages, events and rows.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from chain.anchored import LOG_BYTES_MAX, Anchored, Log, Writer
from chain.codec import encode
from chain.ids import NCOLO, Kind, derive_id
from chain.record import (
    BATCH_LEAVES_MAX,
    PUBLIC_SALT,
    Facets,
    facets_hash,
    record_leaf,
)
from chain.types import DURATION_MAX_MS
from state.modules import account, anchor, license, royalty
from state.modules.anchor import LOGS, RECORDS
from state.modules.anchor import messages as m
from state.modules.anchor.rules import LOG_LEAVES_MAX
from state.modules.bank import Send
from state.modules.ip.asset import IpKind
from state.modules.ip.messages import Execute, Register
from tests.state.ledger import START_MS, Ledger
from tests.state.modules.anchor_world import (
    ALICE,
    BOB,
    CAROL,
    DELAY,
    GENESIS,
    KEY,
    NOW,
    ROOT,
    World,
    batch,
    fill,
    interaction,
    leaf_of,
    open_log,
    refusal,
    register_agent,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "anchor.json"


@pytest.fixture
def world():
    return World()


# --- interactions ------------------------------------------------------------------------------


def test_a_record_keeps_leaf_and_height_only(world):
    facets = Facets(owner=BOB, language="en")

    (event,) = world.send(ALICE, interaction(facets=facets))

    row = RECORDS.get(world, event.record)
    digest = facets_hash(facets, PUBLIC_SALT)
    assert row == Anchored(1, record_leaf(GENESIS, ALICE, 3, ROOT, digest), 1)
    assert event.record == derive_id(Kind.RECORD, GENESIS, ALICE, 0, 0, [0], 0)
    assert event.leaf == row.leaf


def test_the_actor_is_in_the_leaf_not_the_sender(world):
    agent = register_agent(world)
    account.credit(world, agent, NCOLO, 10**9)

    (as_agent,) = world.send(ALICE, interaction(), actor=agent)
    (as_alice,) = world.send(ALICE, interaction())

    assert as_agent.actor == agent
    assert as_agent.leaf != as_alice.leaf


def test_a_record_costs_its_deposit(world):
    before = account.balance_of(world, ALICE)

    (event,) = world.send(ALICE, interaction())

    row = world.state[RECORDS.prefix + event.record]
    size = len(RECORDS.prefix) + 21 + len(row)
    paid = before - account.balance_of(world, ALICE)
    assert paid == world.params.deposit_per_byte * size


def test_without_the_deposit_nothing_is_recorded(world):
    poor = b"\x00" + bytes(20)

    assert refusal(world, poor, interaction()).code == "bank/DepositUnpaid"
    assert refusal(world, poor, open_log()).code == "bank/DepositUnpaid"


def test_an_agent_is_the_actor_or_an_ip_it_owns(world):
    agent = register_agent(world)

    world.send(ALICE, interaction(facets=Facets(agent=ALICE)))
    world.send(ALICE, interaction(facets=Facets(agent=agent)))

    for stranger in (BOB, b"\x02" + bytes(20)):
        found = refusal(world, ALICE, interaction(facets=Facets(agent=stranger)))
        assert found.code == "anchor/AgentNotAuthorised"
    found = refusal(world, BOB, interaction(facets=Facets(agent=agent)))
    assert found.code == "anchor/AgentNotAuthorised"


def test_a_licence_or_payment_needs_the_model(world):
    payment = m.Payment(b"", b"\x05")
    lot = b"\x04" + bytes(20)

    assert refusal(world, ALICE, interaction(payment=payment)).code == "anchor/ModelMissing"
    assert refusal(world, ALICE, interaction(license=lot)).code == "anchor/ModelMissing"


def with_model(world):
    """Return a model of Bob's and a licence lot of it; Alice holds three units."""
    world.send(BOB, Register(kind=IpKind.MODEL, content_hash=ROOT))
    model = derive_id(Kind.IP, GENESIS, BOB, 0, world.sent - 1, [0], 0)
    lot = b"\x04" + sha256(b"lot").digest()[:20]
    row = license.rows.Lot(1, model, b"\x03" + bytes(20), 0, True, 3, BOB, b"")
    license.rows.LOTS.put(world, lot, row)
    license.rows.HOLDINGS.put(world, lot + ALICE, license.rows.Holding(3))
    return model, lot


def test_a_payment_is_the_models_revenue_and_names_the_record(world):
    model, _ = with_model(world)
    before = account.balance_of(world, ALICE)
    message = interaction(facets=Facets(model=model), payment=m.Payment(b"", b"\x07"))

    paid, recorded = world.send(ALICE, message)

    vault = royalty.rows.vault_of(world, model, b"")
    size = len(RECORDS.prefix) + 21 + len(world.state[RECORDS.prefix + recorded.record])
    assert int.from_bytes(vault.received, "big") == 7
    assert (paid.ip, paid.reference) == (model, recorded.leaf)
    assert before - account.balance_of(world, ALICE) == 7 + 1_000 * size


def test_a_payment_follows_the_rules_of_royalties(world):
    model, _ = with_model(world)
    facets, token = Facets(model=model), b"\x09" + bytes(20)

    for payment, code in (
        (m.Payment(b"", b""), "royalty/ZeroAmount"),
        (m.Payment(b"", b"\xff" * 16), "bank/InsufficientFunds"),
        (m.Payment(token, b"\x01"), "royalty/NotWhitelistedRoyaltyToken"),
        (m.Payment(model, b"\x01"), "royalty/NotWhitelistedRoyaltyToken"),
    ):
        message = interaction(facets=facets, payment=payment)
        assert refusal(world, ALICE, message).code == code
    unknown = interaction(facets=Facets(model=b"\x02" + bytes(20)), payment=m.Payment(b"", b"\x01"))
    assert refusal(world, ALICE, unknown).code == "ip/NotRegistered"


def test_a_licence_is_shown_and_not_consumed(world):
    model, lot = with_model(world)

    (event,) = world.send(ALICE, interaction(facets=Facets(model=model), license=lot))

    assert event.license == lot
    assert license.rows.held(world, lot, ALICE) == 3


def test_a_licence_must_be_the_models_and_held_by_the_actor(world):
    model, lot = with_model(world)
    agent = register_agent(world)
    message = interaction(facets=Facets(model=model), license=lot)
    missing = interaction(facets=Facets(model=model), license=b"\x04" + bytes(20))
    other = interaction(facets=Facets(model=agent), license=lot)

    assert refusal(world, BOB, message).code == "anchor/NotLicensed"
    assert refusal(world, ALICE, missing).code == "license/NoLicenseToken"
    assert refusal(world, ALICE, other).code == "anchor/OtherLicensor"


def test_units_follow_what_a_record_asks_for():
    plain = interaction()
    full = interaction(license=b"\x04" + bytes(20), payment=m.Payment(b"", b"\x01"))

    assert (plain.weight(), plain.writes()) == (25, 1)
    assert (full.weight(), full.writes()) == (55, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"fields": 0},
        {"fields": 258},
        {"content_root": bytes(31)},
        {"parents": [ROOT] * 65},
        {"facets": Facets(digital_source_type="a" * 65)},
        {"facets": Facets(time=2**53)},
        {"facets": Facets(model=bytes(20))},
    ],
)
def test_a_record_of_another_shape_is_refused(world, changes):
    assert refusal(world, ALICE, interaction(**changes)).code == "codec/Malformed"


@pytest.mark.parametrize("name", ["model", "agent", "owner"])
def test_a_facet_names_the_right_kind(world, name):
    wrong = Facets(**{name: b"\x08" + bytes(20)})

    assert refusal(world, ALICE, interaction(facets=wrong)).code == "field/WrongKind"


# --- logs --------------------------------------------------------------------------------------


def test_a_log_begins_empty_and_belongs_to_its_opener(world):
    log = world.open_log()

    view = world.query("get", log=log)

    assert (view.owner, view.batches, view.leaves, view.last_to) == (ALICE, 0, 0, 0)
    assert view.root == sha256(b"").digest()


def test_a_log_costs_the_deposit_of_its_largest_size(world):
    before = account.balance_of(world, ALICE)

    world.open_log()

    paid = before - account.balance_of(world, ALICE)
    assert paid == world.params.deposit_per_byte * (len(LOGS.prefix) + 21 + LOG_BYTES_MAX)


def test_no_log_grows_past_the_size_its_deposit_is_priced_by():
    writers = [Writer(ALICE, KEY)] * 16
    amount = b"\xff" * 16
    largest = Log(
        255, ALICE, writers, "s" * 64, DURATION_MAX_MS, DURATION_MAX_MS, amount, amount,
        2**64 - 1, LOG_LEAVES_MAX, LOG_LEAVES_MAX, 2**64 - 1, [ROOT] * 53,
    )  # fmt: skip

    assert LOG_LEAVES_MAX.bit_count() == 53
    assert len(encode(largest)) <= LOG_BYTES_MAX


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (open_log(bond=b"\x01"), "anchor/BondNotYet"),
        (open_log(penalty_per_leaf=b"\x01"), "anchor/PenaltyTooHigh"),
        (open_log([Writer(BOB, bytes(32))]), "crypto/WeakKey"),
        (open_log([Writer(BOB, KEY)] * 2), "field/NotAscending"),
        (open_log([Writer(b"\x02" + bytes(20), KEY)]), "field/WrongKind"),
        (open_log(retention=0), "codec/Malformed"),
        (open_log(retention=DURATION_MAX_MS + 1), "codec/Malformed"),
        (open_log(max_merge_delay=0), "codec/Malformed"),
        (open_log(schema="s" * 65), "codec/Malformed"),
        (open_log(schema="ä" * 33), "field/TooLong"),
        (open_log(bond=b"\x00"), "field/NotCanonical"),
    ],
)
def test_a_log_that_breaks_a_rule_is_not_opened(world, message, code):
    assert refusal(world, ALICE, message).code == code


def test_writers_and_owner_can_change(world):
    log = world.open_log()
    carol = [Writer(CAROL, KEY)]

    (event,) = world.send(ALICE, m.UpdateLog(log, writers=carol))
    world.send(ALICE, m.UpdateLog(log, owner=BOB))

    row = LOGS.get(world, log)
    assert (event.old_owner, event.owner, event.writers) == (ALICE, ALICE, carol)
    assert (row.owner, row.writers) == (BOB, carol)
    assert [view.log for view in world.query("list", owner=BOB).items] == [log]
    assert world.query("list", owner=ALICE).items == []


def test_a_log_can_belong_to_an_ip_that_exists(world):
    log, agent = world.open_log(), register_agent(world)

    unknown = m.UpdateLog(log, owner=b"\x02" + bytes(20))
    assert refusal(world, ALICE, unknown).code == "ip/NotRegistered"
    world.send(ALICE, m.UpdateLog(log, owner=agent))

    assert refusal(world, ALICE, m.CloseLog(log)).code == "anchor/NotOwner"
    world.send(ALICE, m.CloseLog(log), actor=agent)


def test_only_the_owner_updates_and_closes(world):
    log = world.open_log()

    assert refusal(world, BOB, m.UpdateLog(log, owner=BOB)).code == "anchor/NotOwner"
    assert refusal(world, BOB, m.CloseLog(log)).code == "anchor/NotOwner"
    weak = m.UpdateLog(log, writers=[Writer(BOB, bytes(32))])
    assert refusal(world, ALICE, weak).code == "crypto/WeakKey"
    bond = m.UpdateLog(log, bond_add=b"\x01")
    assert refusal(world, ALICE, bond).code == "anchor/BondNotYet"


def test_a_closed_log_takes_nothing_and_stays_provable(world):
    log = world.open_log()
    (first,) = fill(world, log, [5])

    world.send(ALICE, m.CloseLog(log))

    assert LOGS.get(world, log).closed_at == world.now
    later = batch(log, batch_no=1, first_index=5, from_=world.now, to=world.now)
    for sender, message in ((BOB, later), (ALICE, m.CloseLog(log)), (ALICE, m.UpdateLog(log))):
        assert refusal(world, sender, message).code == "anchor/LogClosed"
    assert world.query("proof", log=log, batch_no=0).checkpoint.root == leaf_of(first)


def test_a_log_that_does_not_exist_is_refused(world):
    log = b"\x05" + bytes(20)

    for message in (batch(log), m.UpdateLog(log), m.CloseLog(log)):
        assert refusal(world, ALICE, message).code == "anchor/UnknownLog"


# --- batches -----------------------------------------------------------------------------------


def test_the_owner_and_listed_accounts_append_and_nobody_else(world):
    log = world.open_log(writers=(BOB,))

    world.send(ALICE, batch(log))
    world.send(BOB, batch(log, batch_no=1, first_index=5, from_=NOW))

    third = batch(log, batch_no=2, first_index=10, from_=NOW)
    assert refusal(world, CAROL, third).code == "anchor/NotWriter"
    world.send(ALICE, m.UpdateLog(log, writers=[]))
    assert refusal(world, BOB, third).code == "anchor/NotWriter"


@pytest.mark.parametrize(
    "changes", [{"batch_no": 1}, {"first_index": 1}, {"batch_no": 2**64 - 1, "first_index": 5}]
)
def test_batches_and_indexes_leave_no_gap(world, changes):
    found = refusal(world, BOB, batch(world.open_log(), **changes))

    assert found.code == "anchor/WrongPlace"
    assert (found.details["batch_no"], found.details["first_index"]) == (0, 0)


def test_a_batch_stands_once(world):
    log = world.open_log()
    world.send(BOB, batch(log))

    assert refusal(world, BOB, batch(log)).code == "anchor/WrongPlace"


@pytest.mark.parametrize("count", [0, BATCH_LEAVES_MAX + 1])
def test_a_batch_has_one_to_sixteen_million_records(world, count):
    log = world.open_log()

    assert refusal(world, BOB, batch(log, count=count)).code == "codec/Malformed"


def test_a_log_ends_at_two_to_the_53_records(world):
    log = world.open_log()
    row = LOGS.get(world, log)
    LOGS.put(world, log, msgspec.structs.replace(row, leaves=LOG_LEAVES_MAX - 4))

    found = refusal(world, BOB, batch(log, first_index=LOG_LEAVES_MAX - 4, count=5))

    assert found.code == "anchor/LogFull"
    world.send(BOB, batch(log, first_index=LOG_LEAVES_MAX - 4, count=4))


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (NOW - 10, NOW + 1),  # ends after the block
        (NOW, NOW - 1),  # ends before it begins
        (NOW - DELAY - 9, NOW - DELAY - 1),  # came too late
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_a_time_range_that_cannot_be_is_refused(world, begin, end):
    found = refusal(world, BOB, batch(world.open_log(), from_=begin, to=end))

    assert found.code == "anchor/BadTimeRange"


def test_time_ranges_touch_their_bounds_and_each_other_but_never_overlap(world):
    log = world.open_log()
    second = batch(log, batch_no=1, first_index=5)

    world.send(BOB, batch(log, from_=0, to=NOW - DELAY))

    overlap = msgspec.structs.replace(second, from_=NOW - DELAY - 1)
    assert refusal(world, BOB, overlap).code == "anchor/BadTimeRange"
    world.send(BOB, msgspec.structs.replace(second, from_=NOW - DELAY, to=NOW))


# --- whole transactions ------------------------------------------------------------------------


def test_a_log_is_opened_and_filled_in_one_transaction():
    ledger = Ledger()
    log = ledger.next_id(Kind.LOG, 0)
    times = {"from_": START_MS, "to": START_MS + 50}

    receipt = ledger.ok(0, open_log(), batch(log, **times))

    assert receipt.events[1].batch_no == 0
    assert anchor.MODULE.queries["checkpoint"](ledger.query, log=log).leaves == 5


def test_a_refused_batch_undoes_the_whole_transaction():
    ledger = Ledger()
    log = ledger.next_id(Kind.LOG, 0)
    ledger.ok(0, open_log())
    first = batch(log, from_=START_MS, to=START_MS + 50)

    assert ledger.refused(0, first, first) == "anchor/WrongPlace"

    assert anchor.MODULE.queries["get"](ledger.query, log=log).batches == 0


def test_an_ip_records_and_appends_as_its_owner_lets_it():
    ledger = Ledger()
    agent = ledger.next_id(Kind.IP, 0)
    ledger.ok(0, Register(kind=IpKind.AGENT, content_hash=ROOT))
    ledger.ok(0, Send(agent, NCOLO, (10**9).to_bytes(4, "big")))
    log = ledger.next_id(Kind.LOG, 0, path=[0, 0])
    messages = [open_log(), batch(log, from_=START_MS, to=START_MS + 200), interaction()]

    receipt = ledger.ok(0, Execute(agent, ledger.encoded(*messages)))

    recorded = [event for event in receipt.events if isinstance(event, m.Recorded)]
    assert [event.actor for event in recorded] == [agent]
    assert anchor.MODULE.queries["get"](ledger.query, log=log).owner == agent


def test_money_is_conserved_when_an_interaction_pays_its_model():
    """The ledger sums balances, vaults and deposits after every block."""
    ledger = Ledger(royalty_fee=1_000_000)
    model = ledger.next_id(Kind.IP, 1)
    ledger.ok(1, Register(kind=IpKind.MODEL, content_hash=ROOT))
    paid = interaction(
        facets=Facets(model=model), payment=m.Payment(b"", (10**6).to_bytes(3, "big"))
    )

    ledger.ok(0, paid)

    assert ledger.refused(0, interaction(facets=Facets(agent=model))) == "anchor/AgentNotAuthorised"


# --- vectors -----------------------------------------------------------------------------------


def generate_vectors():
    """Return the content of ``tests/vectors/anchor.json``: a story of every message.

    To write the file anew after a rule has changed on purpose:
    ``python -c "import tests.state.modules.test_anchor as t; t.VECTORS.write_text(t.as_text())"``.
    """
    world = World()
    log = derive_id(Kind.LOG, GENESIS, ALICE, 0, 1, [0], 0)
    full = Facets(
        model=b"\x02" + sha256(b"model").digest()[:20],
        agent=ALICE,
        owner=BOB,
        digital_source_type="trainedAlgorithmicMedia",
        time=NOW,
        schema="colophon/interaction/1",
        language="en",
    )
    story = [
        (ALICE, interaction(facets=full, parents=[ROOT])),
        (ALICE, open_log([Writer(BOB, KEY)])),
        (BOB, batch(log)),
        (ALICE, batch(log, batch_no=1, first_index=5, count=BATCH_LEAVES_MAX, from_=NOW)),
        (ALICE, m.UpdateLog(log, writers=[Writer(CAROL, KEY)], owner=CAROL)),
        (CAROL, m.CloseLog(log)),
    ]
    steps = []
    for sender, message in story:
        before = dict(world.state)
        events = world.send(sender, message)
        changed = {
            "0x" + key.hex(): "0x" + value.hex()
            for key, value in world.state.items()
            if key.startswith(b"anchor") and before.get(key) != value
        }
        steps.append(
            {
                "sender": "0x" + sender.hex(),
                "message": "0x" + encode(message).hex(),
                "units": message.weight() + 10 * message.writes(),
                "events": ["0x" + encode(event).hex() for event in events],
                "rows": changed,
            }
        )
    return {"genesis_hash": "0x" + GENESIS.hex(), "height": 1, "time_ms": NOW, "steps": steps}


def as_text():
    return json.dumps(generate_vectors(), indent=2) + "\n"


def test_messages_events_and_rows_have_the_bytes_of_the_golden_vectors():
    assert VECTORS.read_text() == as_text()
