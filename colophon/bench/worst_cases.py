"""Every message at the limits of its lists, on the largest rows it can meet (``bench --worst``).

A case writes the rows that a message needs straight into the state, and returns the message. Its
sender has sixteen keys, of which one signs; what can be long is as long as the rules allow.
"""

from __future__ import annotations

from collections.abc import Callable

from chain.anchored import Log, Writer
from chain.codec import encode, encode_amount
from chain.crypto import SigningKey
from chain.ids import NCOLO, Kind, address_of
from chain.record import Facets
from chain.transaction import KEYS_MAX
from chain.types import ROYALTY_UNITS
from state.module import Message
from state.modules import account, bank
from state.modules.anchor import messages as am
from state.modules.anchor.rows import LOGS
from state.modules.ip import asset, precommits, rules
from state.modules.ip import messages as im
from state.modules.ip import rows as ir
from state.modules.license import messages as lm
from state.modules.license import rows as lr
from state.modules.royalty import messages as rm
from state.modules.royalty import rows as rr
from state.modules.royalty.rules import MOVES_MAX
from state.modules.royalty.shares import WHOLE, Policy

from .scene import NOW_MS, Scene, long_terms

ANCESTRY = 1_000
"""Ancestors of the widest lineage; with eight edges each, its edges are near their limit, too."""


Case = Callable[[Scene, bytes], Message]
"""A scene and the sender → the message; called once for each transaction."""


def _set_keys(scene: Scene, sender: bytes) -> Message:
    if "keys" not in scene.shared:
        made = (SigningKey(number.to_bytes(32, "big")) for number in range(1, KEYS_MAX + 1))
        scene.shared["keys"] = sorted(key.public_key for key in made)
    return account.SetKeys([account.KeyWeight(key, 1) for key in scene.shared["keys"]], 1)


def _precommit(scene: Scene, sender: bytes) -> Message:
    for number in range(2):
        commitment = scene.bytes32()
        key = sender + number.to_bytes(8, "big")
        ir.QUEUED.put(scene, key, ir.QueuedCommitment(commitment))
        ir.PRECOMMITS.put(
            scene, sender + commitment, ir.PrecommitRow(1, 0, 0, encode_amount(1_000))
        )
    ir.QUEUES.put(scene, sender, ir.PrecommitQueue(0, 2, 1_000))
    return im.Precommit(scene.bytes32())


def _register(scene: Scene, sender: bytes) -> Message:
    message = scene.registration(64, 256, 64)
    salt = scene.bytes32()
    commitment = precommits.commitment_of(
        scene.genesis_hash, sender, message.kind, message.content_hash, salt
    )
    row = ir.PrecommitRow(0, 0, NOW_MS, encode_amount(1_000))
    ir.PRECOMMITS.put(scene, sender + commitment, row)
    ir.QUEUES.put(scene, sender, ir.PrecommitQueue(0, 1, 1))
    places = [
        ir.Place(2**40, number, scene.name(Kind.IP), scene.name(Kind.ACCOUNT))
        for number in range(rules.PLACES_MAX - 1)
    ]
    ir.CONTENTS.put(scene, message.content_hash, ir.Content(places))
    return im.Register(
        **{name: getattr(message, name) for name in message.__struct_fields__ if name != "salt"},
        salt=salt,
    )


def _register_bytes(scene: Scene, sender: bytes) -> Message:
    """Little work and all the bytes there may be: blocks are full of bytes."""
    title, metadata = scene.blob(im.TITLE_BYTES_MAX), scene.blob(im.METADATA_BYTES_MAX)
    creators = [asset.Creator(None, scene.blob(256), scene.blob(64), 0) for _ in range(64)]
    return im.Register(
        asset.IpKind.TEXT, scene.bytes32(), title=title, metadata=metadata, creators=creators
    )


def _accept_credit(scene: Scene, sender: bytes) -> Message:
    ip = scene.ip(sender, registration=b"")
    registration = ir.Registration(encode(scene.registration(64, 256, who=sender)))
    ir.REGISTRATIONS.put(scene, ip, registration)
    return im.AcceptCredit(ip, 63)


def _as_updater(scene: Scene, sender: bytes) -> bytes:
    ip = scene.ip(scene.account())
    row = ir.Updater(asset.Scope.BOTH, 0, 1, sender, b"")
    ir.UPDATERS.put(scene, ip + sender, row)
    return ip


def _set_rights(scene: Scene, sender: bytes) -> Message:
    return im.SetRights(_as_updater(scene, sender), asset.Rights(jurisdiction="j" * 16))


def _update_metadata(scene: Scene, sender: bytes) -> Message:
    return im.UpdateMetadata(_as_updater(scene, sender), None, bytes(32))


def _freeze(scene: Scene, sender: bytes) -> Message:
    return im.FreezeMetadata(scene.ip(sender))


def _set_updater(scene: Scene, sender: bytes) -> Message:
    ip, who = scene.ip(sender), scene.known_ip()
    row = ir.Updater(asset.Scope.BOTH, 0, 1, scene.account(), encode_amount(1_000))
    ir.UPDATERS.put(scene, ip + who, row)
    return im.SetUpdater(ip, who, asset.Scope.RIGHTS, 0)


def _relate(scene: Scene, sender: bytes) -> Message:
    return im.Relate(scene.ip(sender), asset.Relation.BASED_ON, scene.ip(sender))


def _edge(scene: Scene, source: bytes, target: bytes) -> None:
    key = source + bytes((asset.Relation.BASED_ON,)) + target
    ir.EDGES.put(scene, key, ir.Edge(False, 1, scene.account(), encode_amount(1_000)))


def _remove_relation(scene: Scene, sender: bytes) -> Message:
    source, target = scene.ip(sender), scene.ip(sender)
    _edge(scene, source, target)
    return im.RemoveRelation(source, asset.Relation.BASED_ON, target)


def _accept_relation(scene: Scene, sender: bytes) -> Message:
    source, target = scene.ip(sender), scene.ip(sender)
    _edge(scene, source, target)
    return im.AcceptRelation(source, asset.Relation.BASED_ON, target)


def _transfer(scene: Scene, sender: bytes) -> Message:
    above = scene.account()
    for _ in range(rules.OWNER_STEPS_MAX):
        above = scene.ip(above)
    return im.Transfer(scene.ip(sender), above)


def _offered(scene: Scene, owner: bytes, to: bytes) -> bytes:
    ip = scene.ip(owner)
    ir.OFFERS.put(scene, ip, ir.Offer(to, 0, 1, scene.account(), encode_amount(1_000)))
    return ip


def _accept_transfer(scene: Scene, sender: bytes) -> Message:
    return im.AcceptTransfer(_offered(scene, scene.account(), sender), 2**40)


def _withdraw_transfer(scene: Scene, sender: bytes) -> Message:
    return im.WithdrawTransfer(_offered(scene, sender, scene.account()))


def _execute(scene: Scene, sender: bytes) -> Message:
    ip = scene.ip(sender)
    scene.fatten(ip, [])
    sends = [bank.Send(scene.account(), NCOLO, b"\1") for _ in range(62)]
    return im.Execute(ip, [encode(send) for send in sends])


def _pay(scene: Scene, sender: bytes) -> Message:
    return rm.Pay(scene.ip(sender), NCOLO, encode_amount(10**6), scene.ip(sender), bytes(32))


def _accept(scene: Scene, sender: bytes) -> Message:
    return rm.Accept(scene.ip(sender), [NCOLO])


def _claim(scene: Scene, sender: bytes) -> Message:
    """As many sources and holders as there may be, all with something to settle or to draw."""
    ip = scene.ip(sender)
    vault = rr.Vault(encode_amount(10**9), b"", encode_amount(10**18), b"", b"")
    holders = [scene.account() for _ in range(rm.HOLDERS_MAX)]
    for holder in holders:
        account.BALANCES.put(scene, holder + ip, account.Balance(encode_amount(1_000)))
    rest = encode_amount(ROYALTY_UNITS - 1_000 * len(holders))
    account.BALANCES.put(scene, ip + ip, account.Balance(rest))
    sources = [scene.known_ip() for _ in range(min(rm.SOURCES_MAX, MOVES_MAX - len(holders)))]
    for source in sources:
        rr.NET_SHARES.put(scene, source + ip, rr.NetShare(WHOLE // 10))
        rr.put_vault(scene, source, NCOLO, vault)
    rr.put_vault(scene, ip, NCOLO, vault)
    return rm.Claim(ip, [NCOLO], sources, holders, max_units=0)


def _claim_deep(scene: Scene, sender: bytes) -> Message:
    """One source whose net share is computed first, over the widest lineage."""
    source = scene.lineage(ANCESTRY)
    ip = scene.shared["lineage"][0]
    child = scene.known_ip()
    scene.put_lineage(child, [source], ANCESTRY + 1, 8 * ANCESTRY)
    return rm.Claim(ip, [NCOLO], [child], [sender], may_be_empty=True, max_units=13_000)


def _send(scene: Scene, sender: bytes) -> Message:
    ip = scene.ip(sender)
    account.BALANCES.put(scene, sender + ip, account.Balance(encode_amount(10**7)))
    account.BALANCES.put(scene, ip + ip, account.Balance(encode_amount(9 * 10**7)))
    rr.put_vault(scene, ip, NCOLO, rr.Vault(encode_amount(10**12), b"", b"", b"", b""))
    return bank.Send(scene.account(), ip, encode_amount(10**6))


def _multi_send(scene: Scene, sender: bytes) -> Message:
    return bank.MultiSend(
        [bank.Output(scene.account(), NCOLO, b"\1") for _ in range(bank.OUTPUTS_MAX)]
    )


def _register_terms(scene: Scene, sender: bytes) -> Message:
    return lm.RegisterTerms(long_terms(scene.names + 10**6 + len(scene.rows)))


def _attach(scene: Scene, sender: bytes) -> Message:
    config = lm.Config(encode_amount(10**6), 1_000_000, False)
    return lm.Attach(scene.ip(sender), scene.terms(), config)


def _configure(scene: Scene, sender: bytes) -> Message:
    ip, terms = scene.ip(sender), scene.terms()
    scene.attach(ip, terms)
    return lm.Configure(ip, terms, lm.Config(encode_amount(10**7), 2_000_000, False))


def _mint(scene: Scene, sender: bytes) -> Message:
    ip, terms = scene.ip(scene.account()), scene.terms()
    scene.attach(ip, terms)
    rr.LINEAGES.put(scene, ip, rr.Lineage(1, Policy.LAP, 10**7, 1_000, 8_000, 9, b"\x01" * 29 * 64))
    return lm.Mint(ip, terms, 2**40 % 1_000, scene.ip(sender), encode_amount(10**12), 10**8)


def _lot(scene: Scene, licensor: bytes, terms: bytes, holder: bytes, amount: int) -> bytes:
    lot = scene.name(Kind.LOT)
    lr.LOTS.put(
        scene, lot,
        lr.Lot(1, licensor, terms, 0, True, amount, scene.account(), encode_amount(1_000)),
    )  # fmt: skip
    lr.HOLDINGS.put(scene, lot + holder, lr.Holding(amount))
    return lot


def _lot_transfer(scene: Scene, sender: bytes) -> Message:
    lot = _lot(scene, scene.ip(sender), scene.terms(), sender, 10**9)
    return lm.Transfer(lot, scene.ip(sender), 10**8)


def _burn(scene: Scene, sender: bytes) -> Message:
    return lm.Burn(_lot(scene, scene.ip(sender), scene.terms(), sender, 1), 1)


def _approve(scene: Scene, sender: bytes) -> Message:
    parent, child, terms = scene.ip(sender), scene.ip(sender), scene.terms()
    row = lr.Approval(1, scene.account(), encode_amount(1_000))
    lr.APPROVALS.put(scene, parent + terms + child, row)
    return lm.ApproveDerivative(parent, terms, child, True)


def _derive(scene: Scene, sender: bytes) -> Message:
    """64 parents by lots of 64 different terms."""
    parents = []
    for _ in range(lm.PARENTS_MAX):
        ip = scene.ip(scene.account())
        terms = scene.terms(derivatives_reciprocal=False)
        scene.attach(ip, terms)
        parents.append(lm.Parent(ip, lot=_lot(scene, ip, terms, sender, 1)))
    return lm.RegisterDerivative(scene.ip(sender), parents, max_units=300)


def _derive_deep(scene: Scene, sender: bytes) -> Message:
    """One parent with as many ancestors and edges as there may be."""
    parent = scene.lineage(ANCESTRY)
    if "deep terms" not in scene.shared:
        scene.shared["deep terms"] = scene.terms(rev_share=0, minting_fee=b"")
        scene.attach(parent, scene.shared["deep terms"])
    named = lm.Parent(parent, terms=scene.shared["deep terms"])
    return lm.RegisterDerivative(scene.ip(sender), [named], max_units=13_000)


def _log(scene: Scene, owner: bytes) -> bytes:
    log = scene.name(Kind.LOG)
    batches = 2**30 - 1
    LOGS.put(
        scene, log,
        Log(1, owner, _writers(scene), "s" * am.SCHEMA_BYTES_MAX, 10**10, 10**12, b"", b"", 0,
            batches, 2**50, NOW_MS - 1, [scene.bytes32() for _ in range(batches.bit_count())]),
    )  # fmt: skip
    return log


def _writers(scene: Scene) -> list[Writer]:
    if "writers" not in scene.shared:
        keys = [SigningKey(number.to_bytes(32, "big")).public_key for number in range(1, 17)]
        scene.shared["writers"] = sorted(Writer(address_of(key), key) for key in keys)
    writers: list[Writer] = scene.shared["writers"]
    return writers


def _record(scene: Scene, sender: bytes) -> Message:
    model, agent = scene.ip(scene.account()), scene.ip(sender)
    facets = Facets(
        model=model, agent=agent, owner=sender, digital_source_type="d" * 64, time=NOW_MS,
        schema="s" * 64, language="l" * 35,
    )  # fmt: skip
    lot = _lot(scene, model, scene.terms(), sender, 9)
    paid = am.Payment(NCOLO, encode_amount(10**6))
    return am.RecordInteraction(bytes(32), 257, facets, [bytes(32)] * 64, lot, paid)


def _open_log(scene: Scene, sender: bytes) -> Message:
    return am.OpenLog("s" * am.SCHEMA_BYTES_MAX, _writers(scene), 10**10, 10**10)


def _update_log(scene: Scene, sender: bytes) -> Message:
    return am.UpdateLog(_log(scene, sender), _writers(scene), scene.known_ip())


def _close_log(scene: Scene, sender: bytes) -> Message:
    return am.CloseLog(_log(scene, sender))


def _append(scene: Scene, sender: bytes) -> Message:
    batches = 2**30 - 1
    return am.Append(_log(scene, sender), batches, 2**50, 2**24, bytes(32), NOW_MS - 1, NOW_MS)


CASES: dict[str, Case] = {
    "account.set_keys": _set_keys,
    "account.require_acceptance": lambda scene, sender: account.RequireAcceptance(True),
    "ip.precommit": _precommit,
    "ip.register": _register,
    "ip.register, bytes": _register_bytes,
    "ip.accept_credit": _accept_credit,
    "ip.set_rights": _set_rights,
    "ip.update_metadata": _update_metadata,
    "ip.freeze_metadata": _freeze,
    "ip.set_updater": _set_updater,
    "ip.relate": _relate,
    "ip.remove_relation": _remove_relation,
    "ip.accept_relation": _accept_relation,
    "ip.transfer": _transfer,
    "ip.accept_transfer": _accept_transfer,
    "ip.withdraw_transfer": _withdraw_transfer,
    "ip.execute": _execute,
    "royalty.pay": _pay,
    "royalty.accept": _accept,
    "royalty.claim": _claim,
    "royalty.claim, deep": _claim_deep,
    "bank.send": _send,
    "bank.multi_send": _multi_send,
    "license.register_terms": _register_terms,
    "license.attach": _attach,
    "license.configure": _configure,
    "license.mint": _mint,
    "license.transfer": _lot_transfer,
    "license.burn": _burn,
    "license.approve_derivative": _approve,
    "license.register_derivative": _derive,
    "license.register_derivative, deep": _derive_deep,
    "anchor.record": _record,
    "anchor.open_log": _open_log,
    "anchor.update_log": _update_log,
    "anchor.close_log": _close_log,
    "anchor.append": _append,
}
"""Case by message; a message with several ways to be dear has one of each, named after a comma."""
