"""Bundles: the proof of one interaction in one file (protocol.md X11, X12).

A small chain of two epochs is made with real signatures and a real state tree; its bundles are
checked by the project's verifier and by the independent one in ``offline_verifier.py``, which
must agree on every change made to them.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.anchored import Anchored, Log, Writer, anchored_key, log_key
from chain.bundle import Bundle, Hop, LogPlace, StateValue, verify_bundle
from chain.bundle_json import BUNDLE_BYTES_MAX, FORMAT, read_bundle, write_bundle
from chain.certificate import assemble_certificate
from chain.codec import encode
from chain.committee import Committee, Member
from chain.crypto import SigningKey
from chain.disclosure import disclose
from chain.errors import Rejected
from chain.finality import FinalityProof, LightClient
from chain.header import ZERO_HASH, Header
from chain.jcs import NESTING_MAX
from chain.merkle import LogTree, Peaks
from chain.record import Batch, Facets, Recording
from chain.vote import VoteKind, vote_message
from colophon.verify import verify_bytes
from state.tree import Tree, prove
from tests.chain import offline_verifier

VECTOR = Path(__file__).parents[1] / "vectors" / "bundle.json"
GENESIS = sha256(b"genesis").digest()
LOG_ID = b"\x05" + sha256(b"log").digest()[:20]
ACTOR = b"\x00" + sha256(b"actor").digest()[:20]
RECORD_ID = b"\x06" + sha256(b"record").digest()[:20]
EPOCH_LENGTH = 4
FIRST = [SigningKey(sha256(b"first" + bytes([n])).digest()) for n in range(4)]
SECOND = [SigningKey(sha256(b"second" + bytes([n])).digest()) for n in range(3)]
FIELDS = {
    "prompt": "Why is the sky blue?",
    "output": "Rayleigh scattering.",
    "gen_ai.request.model": "phi-2",
    "gen_ai.usage.output_tokens": 4,
    "tool": {"b": [1, None], "a": "\u20ac\n"},
}
FACETS = Facets(model=b"\x02" + bytes(20), owner=ACTOR, time=1_700_000_000_000, language="en")


def members(keys):
    return tuple(Member(key.public_key, 1 + index) for index, key in enumerate(keys))


TRUST = LightClient(GENESIS, EPOCH_LENGTH, 0, Committee(members(FIRST)))
SECOND_TRUST = LightClient(GENESIS, EPOCH_LENGTH, 1, Committee(members(SECOND)))


def header(height, **changes):
    """Return a header of the chain; epochs end at heights 4 and 8."""
    values = {
        "version": 1,
        "genesis_hash": GENESIS,
        "epoch": (height - 1) // EPOCH_LENGTH,
        "view": height + 3,
        "height": height,
        "kind": 0,
        "parent_view": height + 2,
        "parent_id": ZERO_HASH,
        "time_ms": 1_700_000_100_000 + height,
        "proposer_index": 0,
        "tx_root": ZERO_HASH,
        "evidence_root": ZERO_HASH,
        "parent_certificate_hash": ZERO_HASH,
        "base_fee": 1,
        "units_limit_used": 0,
        "parent_state_root": ZERO_HASH,
        "parent_receipts_root": ZERO_HASH,
        "params_hash": ZERO_HASH,
        "next_committee_hash": ZERO_HASH,
        **changes,
    }
    return Header(**values)


def finalise(keys, headers):
    """Return the finality proof of the last header, descending; all but one member sign."""
    top = headers[0]
    message = vote_message(VoteKind.FINALIZE, GENESIS, top.epoch, top.view, top.id())
    signatures = {index: key.sign(message) for index, key in enumerate(keys) if index}
    certificate = assemble_certificate(
        Committee(members(keys)), VoteKind.FINALIZE, top.epoch, top.view, top.id(), signatures
    )
    return FinalityProof(certificate, list(headers))


def recording(number=0, context=LOG_ID, fields=None):
    return Recording(
        genesis_hash=GENESIS,
        context=context,
        secret=sha256(b"secret" + bytes([number])).digest(),
        fields=FIELDS if fields is None else fields,
        facets=FACETS,
    )


def state_with(key, value, others=40):
    """Return the root of a state that holds the pair among others, and the pair's proof."""
    pairs = [(b"other" + bytes([n]), b"value" + bytes([n])) for n in range(others)]
    tree = Tree.build([*pairs, (key, value)])
    return tree.root, StateValue(key=key, value=value, proof=prove(tree, key))


def final_state(root):
    """Return finality proof and hop that make ``root`` the state before height 6."""
    proved = header(6, parent_state_root=root)
    child = header(7, parent_id=proved.id(), parent_view=proved.view)
    boundary = header(4, next_committee_hash=Committee(members(SECOND)).hash)
    hop = Hop(finality=finalise(FIRST, [boundary]), members=members(SECOND))
    return finalise(SECOND, [child, proved]), hop


def log_bundle(names=("output", "tool")):
    """Return the bundle of record 2 of 5 in batch 1 of 3."""
    records = [recording(number) for number in range(5)]
    tree = LogTree([record.leaf for record in records])
    batches = [
        Batch(
            log=LOG_ID,
            batch_no=number,
            first_index=5 * number,
            count=5,
            begin_ms=1_700_000_000_000,
            end_ms=1_700_000_000_000,
            root=tree.root if number == 1 else sha256(bytes([number])).digest(),
        )
        for number in range(3)
    ]
    log_tree = LogTree([batch.hash() for batch in batches])
    peaks = Peaks()
    for batch in batches:
        peaks = peaks.append(batch.hash())
    row = Log(
        1, ACTOR, [Writer(ACTOR, FIRST[0].public_key)], "colophon/interaction/1", 86_400_000,
        60_000, b"", b"", 0, 3, 15, 1_700_000_000_000, list(peaks.hashes),
    )  # fmt: skip
    root, state = state_with(log_key(LOG_ID), encode(row))
    finality, hop = final_state(root)
    place = LogPlace(
        batch=batches[1],
        index=2,
        leaf_path=tuple(tree.inclusion_proof(2)),
        batch_path=tuple(log_tree.inclusion_proof(1)),
        size=3,
        root=log_tree.root,
    )
    return Bundle(
        trust=TRUST,
        record=disclose(records[2], names),
        place=place,
        state=state,
        finality=finality,
        hops=(hop,),
    )


def own_bundle():
    """Return the bundle of an interaction anchored by itself."""
    record = recording(context=ACTOR)
    root, state = state_with(anchored_key(RECORD_ID), encode(Anchored(1, record.leaf, 5)))
    finality, hop = final_state(root)
    return Bundle(
        trust=TRUST,
        record=disclose(record, ["prompt"]),
        place=None,
        state=state,
        finality=finality,
        hops=(hop,),
    )


def refusal(bundle, trust=TRUST):
    """Return the code with which a bundle is refused."""
    with pytest.raises(Rejected) as caught:
        verify_bundle(bundle, trust)
    return caught.value.code


def test_a_bundle_of_a_log_proves_its_fields_and_its_place():
    bundle = log_bundle()

    proved = verify_bundle(bundle, TRUST)

    assert proved.statement.values == {"output": FIELDS["output"], "tool": FIELDS["tool"]}
    assert proved.statement.names == tuple(sorted(FIELDS))
    assert proved.statement.facets == FACETS
    assert (proved.context, proved.index) == (LOG_ID, 7)
    assert proved.header.time_ms == 1_700_000_100_006
    assert proved.trust == TRUST


def test_a_bundle_of_an_interaction_anchored_by_itself_proves_its_fields():
    proved = verify_bundle(own_bundle(), TRUST)

    assert proved.statement.values == {"prompt": FIELDS["prompt"]}
    assert (proved.context, proved.index) == (ACTOR, None)


@pytest.mark.parametrize("make", [log_bundle, own_bundle])
def test_a_file_gives_the_bundle_back(make):
    assert write_bundle(read_bundle(write_bundle(make()))) == write_bundle(make())
    assert verify_bundle(read_bundle(write_bundle(make())), TRUST) == verify_bundle(make(), TRUST)


@pytest.mark.parametrize("depth", [28, 29, NESTING_MAX])
def test_a_record_that_may_be_made_may_be_proved_however_deep_its_values(depth):
    deep = 0
    for _ in range(depth):
        deep = [deep]
    record = recording(context=ACTOR, fields={**FIELDS, "tool": deep})
    root, state = state_with(anchored_key(RECORD_ID), encode(Anchored(1, record.leaf, 5)))
    finality, hop = final_state(root)
    bundle = replace(
        own_bundle(), record=disclose(record, ["tool"]), state=state, finality=finality, hops=(hop,)
    )

    raw = write_bundle(bundle)

    assert verify_bundle(read_bundle(raw), TRUST).statement.values["tool"] == deep
    assert verify_bytes(raw, GENESIS).values["tool"] == deep


@pytest.mark.parametrize("make", [log_bundle, own_bundle])
def test_the_independent_verifier_reads_the_same(make):
    proved = verify_bundle(make(), TRUST)

    found = offline_verifier.verify(write_bundle(make()), GENESIS)

    assert found == {
        "leaf": proved.statement.leaf,
        "names": list(proved.statement.names),
        "values": proved.statement.values,
        "time_ms": proved.header.time_ms,
    }


def as_text():
    """Return the content of ``tests/vectors/bundle.json``, the file of ``log_bundle``.

    To write the file anew after a rule has changed on purpose:
    ``python -c "import tests.chain.test_bundle as t; t.VECTOR.write_bytes(t.as_text())"``.
    """
    return write_bundle(log_bundle())


def test_a_bundle_has_the_bytes_of_the_golden_file():
    assert VECTOR.read_bytes() == as_text()


def test_a_later_committee_may_be_trusted_instead():
    assert verify_bundle(log_bundle(), SECOND_TRUST).trust == SECOND_TRUST

    beyond = replace(SECOND_TRUST, epoch=2)
    assert refusal(log_bundle(), beyond) == "bundle/OtherEpoch"
    without_hops = replace(log_bundle(), hops=(), trust=SECOND_TRUST)
    assert refusal(without_hops, TRUST) == "bundle/OtherEpoch"
    assert refusal(replace(without_hops, trust=TRUST), TRUST) == "finality/Epoch"


def test_another_network_or_committee_is_refused():
    other = LightClient(sha256(b"other").digest(), EPOCH_LENGTH, 0, TRUST.committee)
    strangers = LightClient(GENESIS, EPOCH_LENGTH, 0, Committee(members(FIRST[::-1])))

    assert refusal(log_bundle(), other) == "bundle/WrongNetwork"
    assert refusal(log_bundle(), strangers) == "crypto/BadSignature"


def test_a_hop_to_another_committee_is_refused():
    bundle = log_bundle()
    hop = replace(bundle.hops[0], members=members(FIRST))

    assert refusal(replace(bundle, hops=(hop,))) == "finality/WrongCommittee"


def test_the_state_must_hold_this_leaf():
    bundle = own_bundle()
    another = replace(bundle, record=disclose(recording(9, context=ACTOR), ["prompt"]))

    assert refusal(another) == "bundle/OtherRecord"


def test_a_record_of_a_log_and_one_by_itself_are_never_mistaken():
    log, own = log_bundle(), own_bundle()

    assert refusal(replace(log, place=None)) == "bundle/WrongKey"
    assert refusal(replace(own, place=log.place)) == "bundle/WrongKey"
    assert refusal(replace(own, record=log.record)) == "bundle/WrongKey"


def relocated(key, value, base):
    """Return ``base`` over a state that holds another pair."""
    root, state = state_with(key, value)
    finality, hop = final_state(root)
    return replace(base, state=state, finality=finality, hops=(hop,))


def test_the_proven_key_must_be_the_logs():
    base = log_bundle()
    other_log = relocated(log_key(b"\x05" + bytes(20)), base.state.value, base)
    batch_of_other = replace(base.place.batch, log=b"\x05" + bytes(20))

    assert refusal(other_log) == "bundle/WrongKey"
    assert refusal(replace(base, place=replace(base.place, batch=batch_of_other))) == (
        "bundle/WrongKey"
    )


def test_rows_of_another_version_or_form_are_refused():
    base, own = log_bundle(), own_bundle()
    row = base.state.value
    assert row[:2] == b"\x9d\x01"

    newer = relocated(log_key(LOG_ID), b"\x9d\x02" + row[2:], base)
    garbage = relocated(log_key(LOG_ID), b"\x9d", base)
    fewer_peaks = relocated(log_key(LOG_ID), row[:-69] + b"\x91" + row[-34:], base)
    newer_own = relocated(anchored_key(RECORD_ID), encode(Anchored(2, bytes(32), 5)), own)

    assert refusal(newer) == "bundle/Version"
    assert refusal(garbage) == "codec/Malformed"
    assert refusal(fewer_peaks) == "bundle/Malformed"
    assert refusal(newer_own) == "bundle/Version"


def place_changed(**changes):
    bundle = log_bundle()
    return replace(bundle, place=replace(bundle.place, **changes))


def test_every_part_of_the_place_is_bound():
    place = log_bundle().place
    later = replace(place.batch, batch_no=2)
    longer = replace(place.batch, end_ms=place.batch.end_ms + 1)

    assert refusal(place_changed(index=3)) == "merkle/BadProof"
    assert refusal(place_changed(leaf_path=place.leaf_path[1:])) == "merkle/BadProof"
    assert refusal(place_changed(batch_path=())) == "merkle/BadProof"
    assert refusal(place_changed(batch=later)) == "merkle/BadProof"
    assert refusal(place_changed(batch=longer)) == "merkle/BadProof"
    assert refusal(place_changed(size=4)) == "bundle/OtherCheckpoint"
    assert refusal(place_changed(root=bytes(32))) == "bundle/OtherCheckpoint"


# --- changes to the file ---------------------------------------------------------------------


def leaves_of(form, path=()):
    """Yield the path of every scalar in a JSON value."""
    if isinstance(form, dict):
        for name, value in form.items():
            yield from leaves_of(value, (*path, name))
    elif isinstance(form, list):
        for index, value in enumerate(form):
            yield from leaves_of(value, (*path, index))
    else:
        yield path


FORMS = [json.loads(write_bundle(make())) for make in (log_bundle, own_bundle)]
PLACES = [(which, path) for which, form in enumerate(FORMS) for path in leaves_of(form)]
UNBOUND = {"genesis_hash", "epoch_length", "committee"}
"""Of ``trust``: what the reader compares with its own, not what the file proves."""


def changed(form, path, change):
    """Return the bytes of ``form`` with the scalar at ``path`` changed."""
    form = copy.deepcopy(form)
    target = form
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = change(target[path[-1]])
    return json.dumps(form, ensure_ascii=False).encode()


def altered(value, seed):
    """Return another value of the same type, near the old one."""
    if value is None:
        return 1
    if isinstance(value, int):
        return value + 1
    if not value.startswith("0x"):
        return value + "x"
    at = 2 + seed % (len(value) - 2)
    digit = "0123456789abcdef"[(int(value[at], 16) + 1 + seed % 15) % 16]
    return value[:at] + digit + value[at + 1 :]


def judge(text):
    """Return what either verifier makes of a file: its statement, or None where it is refused."""
    try:
        proved = verify_bundle(read_bundle(text), TRUST).statement
        ours = (proved.leaf, list(proved.names), proved.values)
    except Rejected:
        ours = None
    try:
        found = offline_verifier.verify(text, GENESIS)
        theirs = (found["leaf"], found["names"], found["values"])
    except (offline_verifier.Wrong, ValueError, LookupError, TypeError, AttributeError):
        theirs = None
    return ours, theirs


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(PLACES), st.integers(0, 10_000))
def test_no_scalar_of_a_bundle_can_be_changed(place, seed):
    which, path = place

    text = changed(FORMS[which], path, lambda value: altered(value, seed))

    ours, theirs = judge(text)
    if path[0] == "trust" and path[-1] in UNBOUND:
        return
    assert ours is None
    assert theirs is None


@pytest.mark.parametrize("name", list(FORMS[0]))
def test_no_member_may_be_missing_or_unknown(name):
    missing = {key: value for key, value in FORMS[0].items() if key != name}
    unknown = {**FORMS[0], "more": 1}

    for form in (missing, unknown):
        with pytest.raises(Rejected) as caught:
            read_bundle(json.dumps(form).encode())
        assert caught.value.code == "bundle/Malformed"


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("format",), "colophon/bundle/2", "bundle/Malformed"),
        (("trust", "epoch"), -1, "bundle/Malformed"),
        (("trust", "epoch"), True, "bundle/Malformed"),
        (("trust", "epoch_length"), 0, "bundle/Malformed"),
        (("trust", "committee"), "0x91", "codec/Malformed"),
        (("trust", "genesis_hash"), "0x" + "A" * 64, "bundle/Malformed"),
        (("trust", "genesis_hash"), "0x" + "a b" * 21 + "a", "bundle/Malformed"),
        (("trust", "genesis_hash"), "0x00", "bundle/Malformed"),
        (("trust", "genesis_hash"), "00" * 33, "bundle/Malformed"),
        (("trust", "genesis_hash"), 7, "bundle/Malformed"),
        (("record", "fields"), 258, "bundle/Malformed"),
        (("record", "revealed"), {}, "bundle/Malformed"),
        (("record", "revealed", 0, "name"), 1, "bundle/Malformed"),
        (("record", "revealed", 0, "path"), ["0x" + "00" * 32] * 66, "bundle/Malformed"),
        (("record", "revealed", 0, "value"), 1.5, "json/NotAllowed"),
        (("record", "facets", "values"), [], "bundle/Malformed"),
        (("record", "facets", "values"), {"price": 1}, "bundle/Malformed"),
        (("record", "facets", "values", "time"), "now", "codec/Malformed"),
        (("record", "facets", "values", "language"), "e" * 36, "codec/Malformed"),
        (("record", "facets", "values", "language"), "ä" * 20, "field/TooLong"),
        (("record", "facets", "values", "model"), "0x08" + "00" * 20, "field/WrongKind"),
        (("log", "batch", "count"), 2**24 + 1, "bundle/Malformed"),
        (("log", "batch", "count"), 0, "bundle/Malformed"),
        (("state", "leaf", 0), ["0x" + "00" * 32], "bundle/Malformed"),
        (("state", "levels"), ["0x" + "00" * 223], "bundle/Malformed"),
        (("finality", "headers"), [], "bundle/Malformed"),
        (("finality", "certificate"), "0x90", "codec/Malformed"),
        (("hops",), [{}] * 1025, "bundle/Malformed"),
        (("log",), 5, "bundle/Malformed"),
    ],
)
def test_a_file_of_another_form_is_refused(path, value, code):
    with pytest.raises(Rejected) as caught:
        read_bundle(changed(FORMS[0], path, lambda _: value))
    assert caught.value.code == code


def test_a_file_that_is_no_strict_json_or_too_long_is_refused():
    twice = write_bundle(log_bundle()).replace(b'"hops":', b'"hops": [], "hops":', 1)

    for text, code in (
        (twice, "json/NotAllowed"),
        (b"[]", "bundle/Malformed"),
        (b"{", "json/Malformed"),
        (b" " * (BUNDLE_BYTES_MAX + 1), "json/TooLarge"),
    ):
        with pytest.raises(Rejected) as caught:
            read_bundle(text)
        assert caught.value.code == code


def test_withheld_facets_are_null_in_the_file():
    bundle = replace(own_bundle(), record=disclose(recording(context=ACTOR), [], facets=False))

    form = json.loads(write_bundle(bundle))

    assert form["record"]["facets"] is None
    assert form["format"] == FORMAT
    assert verify_bundle(read_bundle(write_bundle(bundle)), TRUST).statement.facets is None
