"""Licences: terms, offers, lots, derivatives; the reference scenarios and every refusal."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chain.application import finish
from chain.codec import encode_amount
from chain.errors import Rejected
from chain.fields import Blob
from chain.ids import Kind
from chain.types import PERCENT
from state.module import Writer
from state.modules.bank import Send
from state.modules.ip import messages as im
from state.modules.ip.asset import Use
from state.modules.ip.rows import IPS
from state.modules.license import messages as lm
from state.modules.license import queries, rows
from state.modules.license.messages import Ownership, Terms
from state.modules.license.terms import FLAVOURS, check_terms
from state.modules.royalty.rows import LINEAGES, Lineage, Link, pack_links
from state.modules.royalty.shares import Policy
from tests.state.modules.lineages import REMIX, Lineages

AMOUNT = encode_amount
NO_TERMS = bytes((Kind.TERMS,)) + bytes(20)
NO_LOT = bytes((Kind.LOT,)) + bytes(20)
NO_IP = bytes((Kind.IP,)) + bytes(20)


def changed(**fields: Any) -> Terms:
    """Return the commercial remix terms with some fields changed."""
    return msgspec.structs.replace(REMIX, **fields)


# --- terms ------------------------------------------------------------------------------------

BAD_TERMS = {
    "license/InvalidRoyaltyPercent": changed(rev_share=PERCENT + 1),
    "license/RoyaltyPolicyRequiresCurrencyToken": changed(currency=None),
    "license/CurrencyTokenNotWhitelisted": changed(currency=bytes((Kind.TOKEN,)) + bytes(20)),
    "license/MintingFeeRequiresRoyaltyPolicy": Terms(minting_fee=b"\1"),
    "license/CommercialUseRequiresRoyaltyPolicy": changed(royalty_policy=Policy.NONE),
    "license/CommercialDisabled": Terms(rev_share=1),
    "license/DerivativesDisabled": Terms(derivatives_approval=True),
    "license/InvalidOutputShare": changed(output_share=1),
    "license/ExpirationTooLong": changed(expiration=2**40),
    "license/GateNotActive": changed(commercializer=b"x"),
    "license/CeilingNotActive": changed(rev_ceiling=b"\1"),
}


@pytest.mark.parametrize("code", BAD_TERMS)
def test_terms_that_contradict_themselves_are_refused(code: str) -> None:
    net = Lineages()

    assert net.refused(0, lm.RegisterTerms(BAD_TERMS[code])) == code


@pytest.mark.parametrize("name", ["commercial_attribution", "rev_share", "royalty_policy"])
def test_commercial_fields_need_commercial_use(name: str) -> None:
    value: Any = Policy.LAP if name == "royalty_policy" else 1 if name == "rev_share" else True
    terms = Terms(**{name: value}, currency=b"")

    with pytest.raises(Rejected, match="CommercialDisabled"):
        check_terms(terms)


def test_the_four_flavours_exist_from_genesis_as_numbers_one_to_four() -> None:
    net = Lineages()

    numbers = {view.number: view.terms for view in net.ask(queries.list_terms).items}

    assert numbers == dict(enumerate(FLAVOURS, start=1))


def test_l30_known_terms_succeed_and_change_nothing() -> None:
    net = Lineages()
    terms = changed(rev_share=7)
    net.ok(0, lm.RegisterTerms(terms))
    before = net.balance(net.addresses[1])

    receipt = net.ok(1, lm.RegisterTerms(terms))

    assert receipt.events == []
    fee = int.from_bytes(receipt.fee, "big")
    assert net.balance(net.addresses[1]) == before - fee


def test_the_legal_text_is_no_part_of_the_identity_but_everything_else_is() -> None:
    same = rows.terms_id_of(REMIX)
    blob = Blob(bytes(32), 5)

    assert rows.terms_id_of(changed(legal=blob)) == same
    assert rows.terms_id_of(changed(legal_hash=bytes(32))) != same
    assert rows.terms_id_of(changed(ai_training=Use.NOT_ALLOWED)) != same
    assert rows.terms_id_of(changed(output_ownership=Ownership.LICENSOR)) != same


# --- offers -----------------------------------------------------------------------------------


def test_attaching_needs_owner_known_terms_and_happens_once() -> None:
    net = Lineages()
    ip, terms = net.ip(), net.terms()

    assert net.refused(1, lm.Attach(ip, terms)) == "ip/NotOwner"
    assert net.refused(0, lm.Attach(ip, NO_TERMS)) == "license/LicenseTermsNotFound"
    net.offer(ip, terms)
    assert net.refused(0, lm.Attach(ip, terms)) == "license/LicenseTermsAlreadyAttached"
    child = net.child_of((ip, terms))
    other = net.terms(share=1)
    refused = net.refused(0, lm.Attach(child, other))
    assert refused == "license/DerivativesCannotAddLicenseTerms"


def test_an_expired_ip_can_neither_be_offered_nor_licensed_nor_be_a_parent() -> None:
    net = Lineages()
    terms = net.terms(expiration=1)
    parent = net.ip()
    net.offer(parent, terms)
    child = net.child_of((parent, terms))
    net.now_ms += 5_000
    grandchild = net.ip()

    assert net.refused(0, lm.Attach(child, net.terms(share=3))) == "license/IpExpired"
    mint = lm.Mint(child, terms, 1, net.addresses[1])
    assert net.refused(1, mint) == "license/ParentIpExpired"
    derive = lm.RegisterDerivative(grandchild, [lm.Parent(child, terms)])
    assert net.refused(0, derive) == "license/ParentIpExpired"


def test_l19_the_last_millisecond_still_counts() -> None:
    net = Lineages()
    terms = net.terms(expiration=100)
    parent = net.ip()
    net.offer(parent, terms)
    child = net.child_of((parent, terms))
    row = IPS.get(net.state, child)
    assert row is not None

    net.now_ms = row.expires_at - 100  # the next block stands at exactly expires_at
    net.ok(1, lm.Mint(child, terms, 1, net.addresses[1]))
    mint = lm.Mint(child, terms, 1, net.addresses[1])

    assert net.refused(1, mint) == "license/ParentIpExpired"


def test_l12_l14_a_config_never_undercuts_the_terms() -> None:
    net = Lineages()
    ip, terms = net.ip(), net.terms(fee=100)
    free = rows.terms_id_of(FLAVOURS[0])
    net.offer(ip, terms)
    net.offer(ip, free)

    def configure(its: bytes, **config: Any) -> str:
        return net.refused(0, lm.Configure(ip, its, lm.Config(**config)))

    below = "license/LicensingConfigMintingFeeBelowLicenseTerms"
    override = "license/CurrentLicenseNotAllowOverrideRoyaltyPercent"
    assert configure(terms, minting_fee=AMOUNT(99)) == below
    assert configure(terms, rev_share=1) == override
    assert configure(free, rev_share=1) == override
    assert configure(terms, rev_share=PERCENT + 1) == "license/InvalidRoyaltyPercent"
    assert configure(free, minting_fee=b"\1") == "license/MintingFeeRequiresRoyaltyPolicy"
    not_attached = lm.Configure(ip, net.terms(share=2), lm.Config())
    assert net.refused(0, not_attached) == "license/IpHasNoLicenseTerms"


def test_l09_l10_l11_the_config_sets_the_fee_until_it_is_cleared() -> None:
    net = Lineages()
    ip, terms = net.ip(), net.terms(fee=999)
    net.offer(ip, terms, minting_fee=AMOUNT(1_000))
    who = net.addresses[1]

    assert quote(net, ip, terms, 5) == 5_000
    net.ok(0, lm.Configure(ip, terms, None))
    assert quote(net, ip, terms, 5) == 4_995
    assert net.ok(1, lm.Mint(ip, terms, 5, who)).events[-1].fee == AMOUNT(4_995)


def quote(net: Lineages, ip: bytes, terms: bytes, amount: int) -> int:
    """Return the fee that license.quote names."""
    message = lm.Mint(ip, terms, amount, net.addresses[1])
    view = finish(queries.quote(net.query, sender=net.addresses[1], message=message))
    return int.from_bytes(view.fee, "big")


# --- lots -------------------------------------------------------------------------------------


def test_l01_minting_pays_the_licensor_and_makes_one_lot() -> None:
    net = Lineages()
    ip, terms = net.ip(), net.terms(fee=100)
    net.offer(ip, terms)
    lot = net.next_id(Kind.LOT, 1)

    net.ok(1, lm.Mint(ip, terms, 1, net.addresses[2], max_minting_fee=AMOUNT(100)))

    assert net.claimable(ip) == 100
    assert rows.held(net.state, lot, net.addresses[2]) == 1
    holdings = net.ask(queries.holdings, holder=net.addresses[2]).items
    assert [view.amount for view in holdings] == [1]
    assert queries.lot(net.query, lot=lot).amount == 1


def test_l02_l03_l07_refused_mints() -> None:
    net = Lineages()
    ip, terms = net.ip(), net.terms(fee=1_000)
    who = net.addresses[1]
    other = net.terms(share=3)
    net.offer(ip, terms)

    def mint(**fields: Any) -> str:
        given: dict[str, Any] = {"licensor": ip, "terms": terms, "amount": 1, "receiver": who}
        return net.refused(1, lm.Mint(**{**given, **fields}))

    exceed = "license/MintingFeeExceedMaxMintingFee"
    assert mint(max_minting_fee=AMOUNT(100)) == exceed
    assert net.last_refusal is not None
    assert net.last_refusal.details == {"found": 1_000, "limit": 100}
    assert mint(amount=2, max_minting_fee=AMOUNT(1_500)) == exceed
    assert mint(max_minting_fee=b"") == exceed
    share = "license/CommercialRevenueShareExceedMaxRevenueShare"
    assert mint(max_rev_share=5_000_000) == share
    assert mint(amount=0) == "license/MintAmountZero"
    assert mint(licensor=NO_IP) == "license/LicensorIpNotRegistered"
    assert mint(terms=NO_TERMS) == "license/LicenseTermsNotExists"
    assert mint(terms=other) == "license/LicensorIpHasNoLicenseTerms"
    assert mint(receiver=NO_IP) == "ip/NotRegistered"
    assert mint(amount=2**63) == "bank/InsufficientFunds"
    net.ok(0, lm.Configure(ip, terms, lm.Config(disabled=True)))
    assert mint() == "license/LicenseDisabled"


def test_only_the_owner_licenses_under_terms_that_are_not_attached() -> None:
    net = Lineages()
    ip, private = net.ip(), net.terms(share=4)

    net.ok(0, lm.Mint(ip, private, 3, net.addresses[2]))

    row = IPS.get(net.state, ip)
    assert row is not None and row.state == 1


def test_l21_a_share_that_would_overfill_the_stack_cannot_be_minted() -> None:
    net = Lineages()
    terms = net.terms(share=60_000_000)
    top = net.ip()
    net.offer(top, terms)
    child = net.child_of((top, terms))

    refused = net.refused(1, lm.Mint(child, terms, 1, net.addresses[1]))

    assert refused == "royalty/AboveMaxPercent"


def test_l22_an_ip_with_1024_ancestors_mints_no_licence_to_derive() -> None:
    net = Lineages()
    ip, terms = net.ip(), net.terms()
    net.offer(ip, terms)
    LINEAGES.put(net_writer(net), ip, Lineage(1, Policy.LAP, 0, 1_024, 1_024, 0, b""))

    refused = net.refused(1, lm.Mint(ip, terms, 1, net.addresses[1]))

    expected = "license/TooManyAncestorsForMintingLicenseTokenAllowRegisterDerivative"
    assert refused == expected


def net_writer(net: Lineages) -> Any:
    """Return a writer straight into the ledger's rows: for states that cost too much to reach."""

    class Writer:
        get = net.state.get

        def put(self, key: bytes, value: bytes) -> None:
            net.state.rows[key] = value

        def delete(self, key: bytes) -> None:
            net.state.rows.pop(key, None)

    return Writer()


def test_a_derivative_licenses_only_under_its_reciprocal_terms() -> None:
    net = Lineages()
    terms = net.terms(derivatives_reciprocal=False)
    top = net.ip()
    net.offer(top, terms)
    child = net.child_of((top, terms))

    refused = net.refused(1, lm.Mint(child, terms, 1, net.addresses[1]))

    assert refused == "license/LicenseDenyMintLicenseToken"


def test_l25_lots_move_and_burn_by_their_rules() -> None:
    net = Lineages()
    ip = net.ip()
    bound, free = net.terms(transferable=False), net.terms(share=9)
    net.offer(ip, bound)
    net.offer(ip, free)
    one, two, three = net.addresses[1:4]
    fixed = net.next_id(Kind.LOT, 1)
    net.ok(1, lm.Mint(ip, bound, 5, one))
    loose = net.next_id(Kind.LOT, 1)
    net.ok(1, lm.Mint(ip, free, 5, one))

    assert net.refused(1, lm.Transfer(fixed, two, 1)) == "license/NotTransferable"
    assert net.refused(1, lm.Transfer(loose, one, 1)) == "license/SelfTransfer"
    assert net.refused(1, lm.Transfer(loose, two, 0)) == "license/ZeroAmount"
    assert net.refused(1, lm.Transfer(loose, two, 6)) == "license/NotLicenseTokenOwner"
    assert net.refused(1, lm.Transfer(NO_LOT, two, 1)) == "license/NoLicenseToken"
    net.ok(1, lm.Transfer(loose, two, 2))
    net.ok(2, lm.Transfer(loose, three, 2))
    assert net.refused(2, lm.Burn(loose, 1)) == "license/NotLicenseTokenOwner"
    net.ok(3, lm.Burn(loose, 2))
    before = net.balance(one)
    receipt = net.ok(1, lm.Burn(loose, 3))
    assert rows.LOTS.get(net.state, loose) is None
    gained = net.balance(one) - before + int.from_bytes(receipt.fee, "big")
    assert gained > 0, "the deposit of the lot comes back with its last unit"


# --- derivatives ------------------------------------------------------------------------------


def refuse(net: Lineages, child: bytes, *parents: lm.Parent, who: int = 0, **limits: Any) -> str:
    """Return the code with which a derivative is refused."""
    given = {"max_units": 5_000, **limits}
    return net.refused(who, lm.RegisterDerivative(child, list(parents), **given))


def test_l15_terms_that_may_not_stand_together() -> None:
    net = Lineages()
    use, remix, social = (rows.terms_id_of(FLAVOURS[n]) for n in (1, 2, 0))
    twenty = net.terms(share=20_000_000)
    a, b, child = net.ip(), net.ip(), net.ip()
    for ip in (a, b):
        for terms in (use, remix, social, twenty):
            net.offer(ip, terms)

    def together(left: bytes, right: bytes) -> str:
        return refuse(net, child, lm.Parent(a, left), lm.Parent(b, right))

    bad = "license/LicenseNotCompatibleForDerivative"
    assert together(use, remix) == bad
    assert together(social, remix) == bad
    assert together(remix, twenty) == bad
    net.derive(child, (a, social), (b, social))
    other = net.ip()
    net.derive(other, (a, remix), (b, remix))


def test_l20_l23_l27_parents_and_children_that_do_not_fit() -> None:
    net = Lineages()
    net.check_every_block = False
    terms = net.terms()
    parent, child = net.ip(), net.ip()
    net.offer(parent, terms)
    good = lm.Parent(parent, terms)

    assert refuse(net, child) == "license/NoParentIp"
    assert refuse(net, child, good, good) == "license/DuplicateParentIp"
    assert refuse(net, child, lm.Parent(child, terms)) == "license/DerivativeIsParent"
    assert refuse(net, child, lm.Parent(NO_IP, terms)) == "license/ParentIpNotRegistered"
    assert refuse(net, child, lm.Parent(parent)) == "license/TermsOrLot"
    other = net.terms(share=2)
    assert refuse(net, child, lm.Parent(parent, other)) == "license/ParentIpHasNoLicenseTerms"
    assert refuse(net, child, good, who=1) == "ip/NotOwner"
    assert refuse(net, child, *[good] * 65, max_units=0) == "license/TooManyParents"
    net.derive(child, (parent, terms))
    assert refuse(net, child, good) == "license/DerivativeAlreadyRegistered"
    assert refuse(net, parent, lm.Parent(child, terms)) == "license/DerivativeIpAlreadyHasChild"
    licensed, minted = net.ip(), net.ip()
    net.offer(licensed, terms)
    assert refuse(net, licensed, good) == "license/DerivativeIpAlreadyHasLicense"
    net.ok(0, lm.Mint(minted, terms, 1, net.addresses[1]))
    expected = "license/DerivativeAlreadyHasBeenMintedLicenseTokens"
    assert refuse(net, minted, good) == expected
    net.ok(0, lm.Configure(parent, terms, lm.Config(disabled=True)))
    assert refuse(net, net.ip(), good) == "license/LicenseDisabled"


def test_l20_seventeen_parents_are_fine() -> None:
    net = Lineages()
    net.check_every_block = False
    terms = net.terms(share=1_000_000)
    parents = [net.ip() for _ in range(17)]
    for parent in parents:
        net.offer(parent, terms)

    net.child_of(*((parent, terms) for parent in parents))


def test_l06_l08_fees_and_shares_of_all_parents_count_together() -> None:
    net = Lineages()
    terms = net.terms(fee=300)
    a, b, child = net.ip(), net.ip(), net.ip()
    net.offer(a, terms)
    net.offer(b, terms)
    both = (lm.Parent(a, terms), lm.Parent(b, terms))

    exceed = "license/MintingFeeExceedMaxMintingFee"
    assert refuse(net, child, *both, max_minting_fee=AMOUNT(400)) == exceed
    assert net.last_refusal is not None
    assert net.last_refusal.details == {"found": 600, "limit": 400}
    shares = refuse(net, child, *both, max_rev_share=15_000_000)
    assert shares == "license/ExceedMaxRevenueShare"
    net.ok(0, lm.RegisterDerivative(child, list(both), AMOUNT(600), 20_000_000))
    assert net.claimable(a) == net.claimable(b) == 300


def test_policies_and_currencies_of_one_derivative_agree() -> None:
    net = Lineages()
    lap = net.terms(derivatives_reciprocal=False)
    lrp = net.terms(policy=Policy.LRP, derivatives_reciprocal=False)
    a, b, child = net.ip(), net.ip(), net.ip()
    net.offer(a, lap)
    net.offer(b, lrp)

    refused = refuse(net, child, lm.Parent(a, lap), lm.Parent(b, lrp))

    assert refused == "license/RoyaltyPolicyMismatch"


def test_currencies_of_one_derivative_agree_even_where_nothing_is_paid() -> None:
    net = Lineages()
    silent = Terms(derivatives_allowed=True)
    spoken = Terms(derivatives_allowed=True, currency=b"")
    a, b, child = net.ip(), net.ip(), net.ip()
    for ip, terms in ((a, silent), (b, spoken)):
        net.ok(0, lm.RegisterTerms(terms))
        net.offer(ip, rows.terms_id_of(terms))

    parents = [lm.Parent(a, rows.terms_id_of(silent)), lm.Parent(b, rows.terms_id_of(spoken))]

    assert refuse(net, child, *parents) == "license/CurrencyMismatch"


def test_lap_and_lrp_never_meet_inside_one_lineage() -> None:
    net = Lineages()
    lap, lrp = net.terms(), net.terms(policy=Policy.LRP)
    top = net.ip()
    net.offer(top, lap)
    child = net.child_of((top, lap))
    lot = net.next_id(Kind.LOT, 0)
    refused = net.refused(0, lm.Mint(child, lrp, 1, net.addresses[0]))

    assert refused == "license/LicenseDenyMintLicenseToken"
    assert rows.LOTS.get(net.state, lot) is None


def test_l29_approval_is_asked_given_used_and_void_with_the_owner() -> None:
    net = Lineages()
    terms = net.terms(derivatives_approval=True)
    parent, child, late = net.ip(), net.ip(1), net.ip(1)
    net.offer(parent, terms)
    bad = "license/LicenseNotCompatibleForDerivative"
    ask = lm.Parent(parent, terms)

    assert refuse(net, child, ask, who=1) == bad
    approve = lm.ApproveDerivative(parent, terms, child, True)
    assert net.refused(1, approve) == "ip/NotOwner"
    net.ok(0, approve)
    net.derive(child, (parent, terms), who=1)
    net.ok(0, lm.ApproveDerivative(parent, terms, late, True))
    net.ok(0, im.Transfer(parent, net.addresses[2]))
    assert refuse(net, late, ask, who=1) == bad


def test_a_unit_of_a_lot_is_a_licence_paid_before() -> None:
    net = Lineages()
    terms = net.terms(fee=100)
    parent = net.ip()
    net.offer(parent, terms)
    lot = net.next_id(Kind.LOT, 1)
    net.ok(1, lm.Mint(parent, terms, 2, net.addresses[1]))
    net.ok(0, lm.Configure(parent, terms, lm.Config(AMOUNT(5_000), 50_000_000)))
    child, thief = net.ip(1), net.ip(2)

    none = refuse(net, thief, lm.Parent(parent, None, lot), who=2)
    assert none == "license/CallerAndChildIPNotTokenOwner"
    other = net.ip(1)
    assert refuse(net, child, lm.Parent(other, None, lot), who=1) == "license/LotOfOtherIp"
    net.ok(1, lm.RegisterDerivative(child, [lm.Parent(parent, None, lot)], b""))
    row = rows.LOTS.get(net.state, lot)
    assert row is not None and row.amount == 1
    assert net.claimable(parent) == 200
    net.ok(1, lm.Transfer(lot, net.ip(1), 1))


def test_a_lot_held_by_the_child_itself_can_be_used() -> None:
    net = Lineages()
    parent, terms = net.ip(), net.terms()
    net.offer(parent, terms)
    child = net.ip(1)
    lot = net.next_id(Kind.LOT, 0)
    net.ok(0, lm.Mint(parent, terms, 1, child))

    net.ok(1, lm.RegisterDerivative(child, [lm.Parent(parent, None, lot)]))

    assert rows.LOTS.get(net.state, lot) is None


def test_the_child_inherits_terms_and_the_earliest_end() -> None:
    net = Lineages()
    terms = net.terms(expiration=1_000, derivatives_reciprocal=False)
    longer = net.terms(expiration=2_000, derivatives_reciprocal=False)
    a, b = net.ip(), net.ip()
    net.offer(a, terms)
    net.offer(b, longer)

    child = net.child_of((a, terms), (b, longer))

    row = IPS.get(net.state, child)
    assert row is not None and row.expires_at == net.now_ms + 1_000_000
    offered = {view.terms for view in net.ask(queries.offers, ip=child).items}
    assert offered == {terms, longer}


def test_l21_more_than_1024_ancestors_or_8192_edges_are_refused() -> None:
    net = Lineages(tx_units_max=10**6, block_units_max=10**6)
    net.check_every_block = False
    terms = net.terms(share=0)
    writer = net_writer(net)
    chain = [net.ip()]
    net.offer(chain[0], terms)
    template = IPS.get(net.state, chain[0])
    for number in range(1, 1_026):
        ip = bytes((Kind.IP,)) + number.to_bytes(20, "big")
        IPS.put(writer, ip, template)  # type: ignore[arg-type]  # it is there
        put_free_links(writer, ip, [chain[-1]], number, number)
        key = rows.ATTACHMENTS.prefix + ip + terms
        net.state.rows[key] = net.state.rows[rows.ATTACHMENTS.prefix + chain[0] + terms]
        chain.append(ip)
    child = net.ip()

    over = refuse(net, child, lm.Parent(chain[1_024], terms), max_units=100_000)
    assert over == "license/TooManyAncestors"
    just = lm.RegisterDerivative(child, [lm.Parent(chain[1_023], terms)], max_units=100_000)
    net.ok(0, just)

    wide = bytes((Kind.IP,)) + b"\xff" * 20
    IPS.put(writer, wide, template)  # type: ignore[arg-type]  # it is there
    for ip in chain[100:300]:
        put_free_links(writer, ip, chain[:64], 64, 64)
    put_free_links(writer, wide, chain[100:300], 264, 9_000)
    net.state.rows[rows.ATTACHMENTS.prefix + wide + terms] = net.state.rows[
        rows.ATTACHMENTS.prefix + chain[0] + terms
    ]
    edges = refuse(net, net.ip(), lm.Parent(wide, terms), max_units=100_000)
    assert edges == "license/TooManyEdges"


def put_free_links(
    writer: Writer, ip: bytes, parents: list[bytes], ancestors: int, edges: int
) -> None:
    """Write a lineage whose parents have no share, beside all rules."""
    links = pack_links(Link(parent, 0) for parent in parents)
    LINEAGES.put(writer, ip, Lineage(1, Policy.LAP, 0, ancestors, edges, 0, links))


def test_running_over_max_units_undoes_everything_and_charges_what_was_declared() -> None:
    net = Lineages()
    parent, terms, child = net.ip(), net.terms(), net.ip()
    net.offer(parent, terms)

    assert refuse(net, child, lm.Parent(parent, terms), max_units=3) == "tx/OutOfUnits"


def test_money_for_a_licence_must_be_there() -> None:
    net = Lineages()
    ip, terms = net.ip(), net.terms(fee=10**19)
    net.offer(ip, terms)

    refused = net.refused(1, lm.Mint(ip, terms, 1, net.addresses[1]))

    assert refused == "bank/InsufficientFunds"
    assert net.refused(1, Send(net.addresses[2], b"", AMOUNT(10**19))) == "bank/InsufficientFunds"
