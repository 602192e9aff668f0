"""Intellectual property: registration, first place, revisions, relations, ownership, execute."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.codec import encode, encode_amount
from chain.errors import Rejected
from chain.fields import Blob
from chain.ids import Kind
from chain.types import PERCENT
from state.modules.account import DEPOSITS, RequireAcceptance, SetKeys
from state.modules.bank import MultiSend, Output, Send
from state.modules.ip import asset, queries, rows
from state.modules.ip import messages as m
from state.modules.ip.precommits import PRECOMMIT_LIFE_MS, commitment_of
from state.modules.ip.rows import IPS, Ip
from state.modules.ip.rules import OFFER_LIFE_MS
from tests.state.ledger import Ledger

NO_IP = bytes((Kind.IP,)) + bytes(20)
DAY_MS = 24 * 3_600_000


class Assets(Ledger):
    """A ledger with a word for registering."""

    def ip(self, content: int, who: int = 0, **fields: Any) -> bytes:
        """Register an IP with this content."""
        ip = self.next_id(Kind.IP, who)
        self.ok(who, register(content, **fields))
        return ip

    def row(self, ip: bytes) -> Ip:
        """Return an IP's row."""
        row = IPS.get(self.state, ip)
        assert row is not None
        return row


def register(content: int, **fields: Any) -> m.Register:
    """Return a registration of this content."""
    return m.Register(asset.IpKind.TEXT, content.to_bytes(32, "big"), **fields)


def disclosure(**fields: Any) -> asset.AiDisclosure:
    """Return an AI disclosure with some fields changed."""
    given: dict[str, Any] = {
        "role": asset.Role.PROVIDER, "digital_source_type": "trainedAlgorithmicMedia",
        "model": None, "model_name": "phi-2", "system_version": "1", "params_hash": None,
        "prompt_commitment": None, "inputs": [], "generated_at": 0, "marks": [],
        "deepfake": False, "public_interest_text": False,
        "human_review": asset.HumanReview(False, None), "exemption": asset.Exemption.NONE,
        "language": "en", "human_contribution": None,
    }  # fmt: skip
    return asset.AiDisclosure(**{**given, **fields})


# --- registration -----------------------------------------------------------------------------


def test_an_id_is_known_before_it_exists() -> None:
    net = Assets()
    expected = net.next_id(Kind.IP, 0)

    event = net.ok(0, register(1)).events[0]

    assert event.ip == expected and event.first


def test_a_later_message_of_the_transaction_can_name_the_new_ip() -> None:
    net = Assets()
    ip = net.next_id(Kind.IP, 0)

    net.ok(0, register(1), m.FreezeMetadata(ip))

    assert net.row(ip).frozen


def test_refused_registrations() -> None:
    net = Assets()
    known = net.ip(1)
    blob = Blob(bytes(32), 3)
    named = asset.Creator(None, blob, None, 0)

    def refused(content: int, **fields: Any) -> str:
        return net.refused(0, register(content, **fields))

    assert refused(0) == "ip/ZeroContentHash"
    assert refused(1) == "ip/ContentAlreadyRegistered"
    assert net.last_refusal is not None and net.last_refusal.details["ip"] == known
    collection = m.Register(asset.IpKind.COLLECTION, (9).to_bytes(32, "big"))
    assert net.refused(0, collection) == "ip/KindNotAllowed"
    assert refused(2, creators=[asset.Creator(None, None, None, 0)]) == "ip/CreatorIdentity"
    half = asset.Creator(net.addresses[0], None, None, PERCENT // 2)
    assert refused(2, creators=[half]) == "ip/ContributionSum"
    assert refused(2, creators=[named, asset.Creator(NO_IP, None, None, 0)]) == "ip/NotRegistered"
    assert refused(2, ai=disclosure(model=NO_IP)) == "ip/NotRegistered"
    assert refused(2, ai=disclosure(inputs=[NO_IP])) == "ip/NotRegistered"
    nowhere = asset.RelationTo(asset.Relation.BASED_ON, NO_IP)
    assert refused(2, relations=[nowhere]) == "ip/NotRegistered"
    assert refused(2, salt=bytes(32)) == "ip/NoPrecommit"
    poor = Assets(deposit_per_byte=10**16)
    assert poor.refused(0, register(1)) == "bank/DepositUnpaid"


def test_everything_a_registration_says_can_be_read_back() -> None:
    net = Assets()
    model = net.ip(1)
    half = asset.Creator(net.addresses[0], None, None, PERCENT // 2)
    ip = net.ip(
        2,
        creators=[half, asset.Creator(model, None, None, PERCENT // 2)],
        ai=disclosure(model=model, inputs=[model]),
        relations=[asset.RelationTo(asset.Relation.GENERATED_FROM, model)],
        media=asset.Media("text/plain", 5, asset.HashAlg.SHA256),
        created_at=77,
    )

    view = queries.get(net.query, ip=ip)

    assert view.ai is not None and view.ai.inputs == [model]
    assert view.created_at == 77 and view.relations == 1 and view.first
    edges = net.ask(queries.relations, ip=ip).items
    made_by = (asset.Relation.GENERATED_FROM, model)
    assert [(edge.relation, edge.target) for edge in edges] == [made_by]


def test_lists_follow_owner_and_kind() -> None:
    net = Assets()
    mine, yours = net.ip(1), net.ip(2, who=1)
    net.ok(1, m.Transfer(yours, net.addresses[0]))

    both = net.ask(queries.list_ips, owner=net.addresses[0])
    none = net.ask(queries.list_ips, owner=net.addresses[1])
    page = net.ask(queries.list_ips, limit=1)
    rest = net.ask(queries.list_ips, cursor=page.cursor, limit=5)
    kinds = net.ask(queries.list_ips, kind=asset.IpKind.TEXT)

    assert {view.ip for view in both.items} == {mine, yours} and none.items == []
    assert {view.ip for view in [*page.items, *rest.items]} == {mine, yours}
    assert [view.ip for view in kinds.items] == [mine, yours]


def test_a_kind_is_listed_oldest_first_page_by_page() -> None:
    """Several of one block stand in one row; a page may end and begin in its middle."""
    net = Assets()
    kind = asset.IpKind.TEXT
    made = []
    for block in range(3):
        contents = range(3 * block + 1, 3 * block + 4)
        made += [net.next_id(Kind.IP, 0, [index]) for index in range(3)]
        hashes = [content.to_bytes(32, "big") for content in contents]
        net.ok(0, *(m.Register(kind, content_hash) for content_hash in hashes))
    net.ok(0, m.Register(asset.IpKind.MODEL, bytes(31) + b"\xff"))

    listed, cursor = [], None
    for _ in range(5):
        page = net.ask(queries.list_ips, kind=kind, cursor=cursor, limit=2)
        listed += [view.ip for view in page.items]
        cursor = page.cursor

    assert listed == made and cursor is None
    with pytest.raises(Rejected, match="no IP"):
        net.ask(queries.list_ips, kind=kind, cursor=bytes((2,)) * 21)


# --- first place ------------------------------------------------------------------------------


def commit(net: Assets, who: int, content: int, salt: bytes = bytes(32)) -> m.Precommit:
    """Return the precommitment of a registration."""
    content_hash = content.to_bytes(32, "big")
    raw = commitment_of(net.hash, net.addresses[who], asset.IpKind.TEXT, content_hash, salt)
    return m.Precommit(raw)


def test_an_older_commitment_takes_first_place_and_shows_no_content() -> None:
    net = Assets()
    net.ok(1, commit(net, 1, 5))
    copy = net.ip(5, who=0)

    true = net.ip(5, who=1, salt=bytes(32))

    places = net.ask(queries.by_content, hash=(5).to_bytes(32, "big")).items
    assert [place.ip for place in places] == [true, copy]
    assert not queries.get(net.query, ip=copy).first


def test_a_commitment_is_bound_to_its_maker_its_kind_and_its_time() -> None:
    net = Assets()
    net.ok(1, commit(net, 1, 5))

    assert net.refused(0, register(5, salt=bytes(32))) == "ip/NoPrecommit"
    assert net.refused(1, register(6, salt=bytes(32))) == "ip/NoPrecommit"
    twice = net.refused(1, commit(net, 1, 5))
    assert twice == "ip/PrecommitExists"
    both = net.refused(2, commit(net, 2, 5), register(5, salt=bytes(32)))
    assert both == "ip/PrecommitTooYoung"
    net.now_ms += PRECOMMIT_LIFE_MS
    assert net.refused(1, register(5, salt=bytes(32))) == "ip/PrecommitExpired"


def test_expired_commitments_give_their_deposits_back_two_at_a_time() -> None:
    net = Assets()
    for number in range(3):
        net.ok(1, commit(net, 1, 10 + number))
    net.now_ms += PRECOMMIT_LIFE_MS + 1
    deposits = net.balance(rows_deposits())
    row = rows.PRECOMMITS.get(net.state, net.addresses[1] + commit(net, 1, 10).commitment)
    assert row is not None

    net.ok(1, commit(net, 1, 99))

    one = int.from_bytes(row.deposit, "big")
    assert net.balance(rows_deposits()) == deposits - 2 * one + one
    queue = rows.QUEUES.get(net.state, net.addresses[1])
    assert queue is not None and queue.open == 2


def rows_deposits() -> bytes:
    """Return the account that holds deposits."""
    return DEPOSITS


def test_an_account_has_at_most_1024_open_commitments() -> None:
    net = Assets()
    key = rows.QUEUES.prefix + net.addresses[1]
    net.ok(1, commit(net, 1, 1))
    queue = rows.QUEUES.get(net.state, net.addresses[1])
    assert queue is not None
    net.state.rows[key] = encode(rows.PrecommitQueue(queue.head, queue.tail, 1_024))

    assert net.refused(1, commit(net, 1, 2)) == "ip/TooManyPrecommits"


# --- revisions --------------------------------------------------------------------------------


def test_metadata_changes_are_kept_until_frozen() -> None:
    net = Assets()
    ip = net.ip(1)

    net.ok(0, m.UpdateMetadata(ip, None, b"\1" * 32))
    net.ok(0, m.SetRights(ip, asset.Rights(asset.Training(ai_training=asset.Use.NOT_ALLOWED))))
    net.ok(0, m.FreezeMetadata(ip))

    assert net.refused(0, m.UpdateMetadata(ip, None, None)) == "ip/MetadataAlreadyFrozen"
    assert net.refused(0, m.FreezeMetadata(ip)) == "ip/MetadataAlreadyFrozen"
    history = net.ask(queries.revisions, ip=ip).items
    assert [view.revision for view in history] == [0, 1]
    assert history[0].metadata_hash == b"\1" * 32
    assert queries.get(net.query, ip=ip).rights.training.ai_training is asset.Use.NOT_ALLOWED
    assert net.row(ip).state == 3


def test_an_updater_revises_within_scope_time_and_ownership() -> None:
    net = Assets()
    ip = net.ip(1)
    who = net.addresses[1]
    update = m.UpdateMetadata(ip, None, None)

    assert net.refused(1, update) == "ip/NotOwner"
    own = m.SetUpdater(ip, net.addresses[0], asset.Scope.BOTH)
    assert net.refused(0, own) == "ip/UpdaterIsOwner"
    net.ok(0, m.SetUpdater(ip, who, asset.Scope.METADATA, net.now_ms + DAY_MS))
    net.ok(1, update)
    assert net.refused(1, m.SetRights(ip, asset.Rights())) == "ip/NotOwner"
    net.now_ms += 2 * DAY_MS
    assert net.refused(1, update) == "ip/NotOwner"
    net.ok(0, m.SetUpdater(ip, who, asset.Scope.BOTH))
    net.ok(1, m.SetRights(ip, asset.Rights()))
    net.ok(0, m.Transfer(ip, net.addresses[2]))
    assert net.refused(1, update) == "ip/NotOwner"
    net.ok(2, m.SetUpdater(ip, who, None))


def test_credit_is_accepted_by_the_one_named_once() -> None:
    net = Assets()
    creators = [
        asset.Creator(net.addresses[1], None, None, 0),
        asset.Creator(None, Blob(bytes(32), 4), None, 0),
    ]
    ip = net.ip(1, creators=creators)

    assert net.refused(1, m.AcceptCredit(ip, 5)) == "ip/NoSuchCreator"
    assert net.refused(1, m.AcceptCredit(ip, 1)) == "ip/NoSuchCreator"
    assert net.refused(2, m.AcceptCredit(ip, 0)) == "ip/NotCreator"
    net.ok(1, m.AcceptCredit(ip, 0))
    assert net.refused(1, m.AcceptCredit(ip, 0)) == "ip/CreditAlreadyAccepted"


# --- relations --------------------------------------------------------------------------------


def test_relations_are_made_accepted_and_removed() -> None:
    net = Assets()
    a, b = net.ip(1), net.ip(2, who=1)
    relation = asset.Relation.BASED_ON

    assert net.refused(1, m.Relate(a, relation, b)) == "ip/NotOwner"
    assert net.refused(0, m.Relate(a, relation, a)) == "ip/SelfRelation"
    assert net.refused(0, m.Relate(a, relation, NO_IP)) == "ip/NotRegistered"
    assert net.refused(1, m.AcceptRelation(a, relation, b)) == "ip/NoSuchRelation"
    net.ok(0, m.Relate(a, relation, b))
    assert net.refused(0, m.Relate(a, relation, b)) == "ip/RelationExists"
    assert net.refused(0, m.AcceptRelation(a, relation, b)) == "ip/NotOwner"
    net.ok(1, m.AcceptRelation(a, relation, b))
    again = m.AcceptRelation(a, relation, b)
    assert net.refused(1, again) == "ip/RelationAlreadyAccepted"
    assert net.ask(queries.relations, ip=a).items[0].accepted
    net.ok(0, m.RemoveRelation(a, relation, b))
    assert net.row(a).relations == 0


def test_an_ip_has_at_most_1024_relations() -> None:
    net = Assets()
    a, b = net.ip(1), net.ip(2)
    full = msgspec.structs.replace(net.row(a), relations=1_024)
    net.state.rows[IPS.prefix + a] = encode(full)

    assert net.refused(0, m.Relate(a, asset.Relation.PART_OF, b)) == "ip/TooManyRelations"


# --- ownership --------------------------------------------------------------------------------


def test_a_transfer_moves_the_ip_with_all_it_holds() -> None:
    net = Assets()
    ip = net.ip(1)
    net.ok(0, Send(ip, b"", encode_amount(500)))

    assert net.refused(1, m.Transfer(ip, net.addresses[1])) == "ip/NotOwner"
    assert net.refused(0, m.Transfer(ip, net.addresses[0])) == "ip/SelfTransfer"
    stale = m.Transfer(ip, net.addresses[1], if_state=9)
    assert net.refused(0, stale) == "ip/StateChanged"
    net.ok(0, m.Transfer(ip, net.addresses[1], if_state=0))
    take = Send(net.addresses[1], b"", encode_amount(500))
    assert net.refused(0, m.Execute(ip, net.encoded(take))) == "ip/NotOwner"
    net.ok(1, m.Execute(ip, net.encoded(take)))
    assert net.balance(ip) == 0


def test_ownership_has_no_circles_and_no_towers() -> None:
    net = Assets()
    ips = [net.ip(number + 1) for number in range(11)]

    assert net.refused(0, m.Transfer(ips[0], ips[0])) == "ip/OwnershipCycle"
    for below, above in pairwise(ips[:9]):
        net.ok(0, m.Transfer(below, above))
    assert net.refused(0, m.Transfer(ips[8], ips[0])) == "ip/OwnershipCycle"
    assert net.refused(0, m.Transfer(ips[8], ips[3])) == "ip/OwnershipCycle"
    net.ok(0, m.Transfer(ips[9], ips[1]))
    assert net.refused(0, m.Transfer(ips[10], ips[0])) == "ip/OwnershipTooDeep"


def test_who_asks_to_be_asked_receives_an_offer() -> None:
    net = Assets()
    ip = net.ip(1)
    net.ok(1, RequireAcceptance(True))

    net.ok(0, m.Transfer(ip, net.addresses[1]))
    assert queries.get(net.query, ip=ip).offered_to == net.addresses[1]
    assert net.row(ip).owner == net.addresses[0]
    assert net.refused(2, m.AcceptTransfer(ip)) == "ip/NotReceiver"
    assert net.refused(1, m.WithdrawTransfer(ip)) == "ip/NotOwner"
    net.ok(0, m.WithdrawTransfer(ip))
    assert net.refused(1, m.AcceptTransfer(ip)) == "ip/NoOffer"
    net.ok(0, m.Transfer(ip, net.addresses[1]))
    net.now_ms += OFFER_LIFE_MS
    assert net.refused(1, m.AcceptTransfer(ip)) == "ip/OfferExpired"
    net.ok(0, m.Transfer(ip, net.addresses[1]))
    net.ok(1, m.AcceptTransfer(ip))
    assert net.row(ip).owner == net.addresses[1] and net.row(ip).owner_epoch == 1


# --- acting as an IP --------------------------------------------------------------------------


def test_an_ip_acts_through_its_owner_and_ids_stay_the_senders() -> None:
    net = Assets()
    ip = net.ip(1)
    net.ok(0, Send(ip, b"", encode_amount(10**15)))
    made = net.next_id(Kind.IP, 0, path=[0, 0])

    net.ok(0, m.Execute(ip, net.encoded(register(2))))

    assert net.row(made).owner == ip


def test_an_ip_of_an_ip_acts_two_steps_deep() -> None:
    net = Assets()
    outer, inner = net.ip(1), net.ip(2)
    net.ok(0, m.Transfer(inner, outer))
    net.ok(0, Send(inner, b"", encode_amount(7)))
    pay = m.Execute(inner, net.encoded(Send(net.addresses[1], b"", encode_amount(7))))

    net.ok(0, m.Execute(outer, net.encoded(pay)))

    assert net.balance(inner) == 0


def test_a_failing_nested_message_undoes_everything() -> None:
    net = Assets()
    ip = net.ip(1)
    first = Send(net.addresses[1], b"", encode_amount(1))
    bad = m.Execute(ip, net.encoded(Send(net.addresses[1], b"", encode_amount(1))))

    assert net.refused(0, first, bad) == "bank/InsufficientFunds"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda net, ip: SetKeys([], 1), "codec/Malformed"),
        (lambda net, ip: RequireAcceptance(True), "ip/MessageNotAllowed"),
    ],
)
def test_messages_about_the_account_are_not_allowed_inside(make: Any, code: str) -> None:
    net = Assets()
    ip = net.ip(1)

    with pytest.raises(Rejected) as caught:
        net.send(0, m.Execute(ip, net.encoded(make(net, ip))))

    assert caught.value.code == code


def test_execute_nests_at_most_eight_deep_and_counts_to_sixty_four() -> None:
    net = Assets()
    ip = net.ip(1)
    message: Any = Send(net.addresses[1], b"", b"\1")
    for _ in range(9):
        message = m.Execute(ip, net.encoded(message))

    with pytest.raises(Rejected, match="ExecuteTooDeep"):
        net.send(0, message)
    many = [Send(net.addresses[1], b"", b"\1")] * 64
    with pytest.raises(Rejected, match="TooManyMessages"):
        net.send(0, m.Execute(ip, net.encoded(*many)))


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_ownership_never_closes_a_circle(moves: list[tuple[int, int, int]]) -> None:
    net = Assets()
    net.check_every_block = False
    ips = [net.ip(number + 1) for number in range(6)]
    for _, which, to in moves:
        net.send(0, m.Transfer(ips[which], ips[to]))

    for ip in ips:
        holder, steps = ip, 0
        while holder[0] == Kind.IP:
            holder, steps = net.row(holder).owner, steps + 1
            assert steps <= 10


def test_multi_send_reaches_everybody_or_nobody() -> None:
    net = Assets()
    outputs = [Output(address, b"", b"\5") for address in net.addresses[1:4]]

    net.ok(0, MultiSend(outputs))
    broke = [*outputs, Output(net.addresses[4], b"", encode_amount(10**30))]

    assert net.refused(0, MultiSend(broke)) == "bank/InsufficientFunds"
