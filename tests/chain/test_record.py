"""The record format and its disclosures (protocol.md X1–X10).

Hashes are compared with the rules written out a second time below, from the standard library
alone, and with golden vectors. Hypothesis then shows that any subset of any record can be
disclosed, that the rest is provably absent or withheld, and that no byte can be changed.
"""

from __future__ import annotations

import hmac
import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from chain.disclosure import Disclosure, RevealedField, disclose, open_disclosure
from chain.errors import Misuse, Rejected
from chain.jcs import (
    INTEGER_MAX,
    NESTING_MAX,
    VALUE_BYTES_MAX,
    canonical_json,
    parse_json,
)
from chain.merkle import LogTree
from chain.record import (
    NAMES_MAX,
    PUBLIC_SALT,
    Batch,
    Facets,
    Recording,
    SaltKey,
    facets_hash,
    field_hash,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "record.json"
GENESIS = sha256(b"genesis").digest()
LOG = b"\x05" + sha256(b"log").digest()[:20]
ACTOR = b"\x00" + sha256(b"actor").digest()[:20]
MODEL = b"\x02" + sha256(b"model").digest()[:20]
SECRET = sha256(b"secret").digest()

EXAMPLES = {
    "text": (
        LOG,
        {
            "prompt": "What are the names of some famous actors?",
            "output": 'Who are some of the actors\nthat began on "Broadway"? \u20ac\U0001f600\x7f',
            "gen_ai.request.model": "phi-2",
            "gen_ai.request.temperature": "0.7",
            "gen_ai.usage.output_tokens": 17,
        },
        Facets(
            model=MODEL,
            agent=ACTOR,
            owner=ACTOR,
            digital_source_type="trainedAlgorithmicMedia",
            time=1_700_000_000_000,
            schema="colophon/interaction/1",
            language="en",
        ),
    ),
    "structures": (
        ACTOR,
        {
            "gen_ai.output.messages": [{"role": "assistant", "parts": [], "z": None, "a": True}],
            "tool": {"\ufffd": -5, "\U0001f600": 9007199254740991, "a\\b": {"": False}},
        },
        Facets(time=1),
    ),
    "empty": (LOG, {}, Facets()),
}
"""Name → context, fields, facets; the secret of each is SHA-256 of its name."""

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-INTEGER_MAX, INTEGER_MAX), st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
names = st.from_regex(r"[a-z0-9.][a-z0-9_.]{0,9}", fullmatch=True)
contents = st.dictionaries(names, values, max_size=9)
facet_sets = st.builds(
    Facets,
    model=st.none() | st.just(MODEL),
    time=st.none() | st.integers(0, INTEGER_MAX),
    language=st.none() | st.just("de-CH"),
)


def make(name="text", secret=None):
    """Return the recording of one example."""
    context, fields, facets = EXAMPLES[name]
    secret = secret or sha256(name.encode()).digest()
    return Recording(
        genesis_hash=GENESIS, context=context, secret=secret, fields=fields, facets=facets
    )


def record(fields, *, context=LOG, facets=None, secret=SECRET):
    return Recording(
        genesis_hash=GENESIS,
        context=context,
        secret=secret,
        fields=fields,
        facets=facets or Facets(),
    )


def tagged(tag, data):
    return sha256(bytes([len(tag)]) + tag + data).digest()


def reference_leaf(context, fields, facet_bytes, secret):
    """Return the leaf by rules X2–X7, written from their text with the standard library."""
    key = hmac.new(b"colophon/salt/v1", secret, "sha256").digest()

    def salt(name):
        return hmac.new(key, name.encode() + b"\x01", "sha256").digest()

    def canonical(value):
        if isinstance(value, dict):
            pairs = sorted(value.items(), key=lambda pair: pair[0].encode("utf-16-be"))
            return b"{" + b",".join(canonical(k) + b":" + canonical(v) for k, v in pairs) + b"}"
        if isinstance(value, list):
            return b"[" + b",".join(canonical(item) for item in value) + b"]"
        return json.dumps(value, ensure_ascii=False).encode()

    def head(leaves):
        if len(leaves) == 1:
            return leaves[0]
        split = 1 << ((len(leaves) - 1).bit_length() - 1)
        return sha256(b"\x01" + head(leaves[:split]) + head(leaves[split:])).digest()

    ordered = [("_fields", sorted(fields)), *sorted(fields.items())]
    leaves = [
        tagged(b"field", bytes([len(n)]) + n.encode() + salt(n) + canonical(v)) for n, v in ordered
    ]
    facet_salt = salt("_facets") if context[0] == 5 else bytes(32)
    facet_digest = tagged(b"facets", facet_salt + facet_bytes)
    count = len(leaves).to_bytes(2, "big")
    return tagged(b"record", GENESIS + context + count + head(leaves) + facet_digest)


def refusal(action, *arguments, **options):
    """Return the code with which ``action`` is refused."""
    with pytest.raises(Rejected) as caught:
        action(*arguments, **options)
    return caught.value.code


def flip(data):
    return bytes([data[0] ^ 1]) + data[1:]


# --- vectors ---------------------------------------------------------------------------------


def hexed(data):
    return "0x" + data.hex()


def describe(name):
    """Return everything the rules derive from one example, as the vector file holds it."""
    recording = make(name)
    key = SaltKey(recording.secret)
    canonical = {key: canonical_json(value) for key, value in recording.fields.items()}
    return {
        "name": name,
        "genesis_hash": hexed(GENESIS),
        "context": hexed(recording.context),
        "secret": hexed(recording.secret),
        "fields": dict(recording.fields),
        "canonical": {name: text.decode() for name, text in canonical.items()},
        "salts": {name: hexed(key.salt(name)) for name in [*recording.names, "_facets"]},
        "field_hashes": [hexed(item) for item in recording.hashes],
        "content_root": hexed(recording.content_root),
        "facets_hash": hexed(recording.facets_hash),
        "leaf": hexed(recording.leaf),
    }


def generate_vectors():
    """Return the content of ``tests/vectors/record.json``.

    To write the file anew after a rule has changed on purpose:
    ``python -c "import tests.chain.test_record as t; t.VECTORS.write_text(t.as_text())"``.
    """
    batch = Batch(
        log=LOG,
        batch_no=3,
        first_index=70_000,
        count=2,
        begin_ms=1_700_000_000_000,
        end_ms=1_700_000_060_000,
        root=sha256(b"root").digest(),
    )
    return {
        "records": [describe(name) for name in EXAMPLES],
        "batch": {
            "log": hexed(batch.log),
            "batch_no": batch.batch_no,
            "first_index": batch.first_index,
            "count": batch.count,
            "from": batch.begin_ms,
            "to": batch.end_ms,
            "root": hexed(batch.root),
            "hash": hexed(batch.hash()),
        },
    }


def as_text():
    return json.dumps(generate_vectors(), indent=2, ensure_ascii=True) + "\n"


def test_records_have_the_hashes_of_the_golden_vectors():
    assert VECTORS.read_text() == as_text()


@pytest.mark.parametrize(
    ("name", "facet_hex"),
    [
        (
            "text",
            "97"
            f"9201c415{MODEL.hex()}"
            f"9202c415{ACTOR.hex()}"
            f"9203c415{ACTOR.hex()}"
            f"9204b7{b'trainedAlgorithmicMedia'.hex()}"
            f"9205cf{1_700_000_000_000:016x}"
            f"9206b6{b'colophon/interaction/1'.hex()}"
            f"9207a2{b'en'.hex()}",
        ),
        ("structures", "91920501"),
        ("empty", "90"),
    ],
)
def test_a_leaf_is_what_the_rules_say(name, facet_hex):
    context, fields, _ = EXAMPLES[name]
    secret = sha256(name.encode()).digest()

    expected = reference_leaf(context, fields, bytes.fromhex(facet_hex), secret)

    assert make(name).leaf == expected


# --- values ----------------------------------------------------------------------------------


@given(values)
def test_canonical_json_is_rfc_8785(value):
    assert canonical_json(value) == rfc8785.dumps(value)
    assert parse_json(canonical_json(value), bytes_max=VALUE_BYTES_MAX) == value


@given(st.text())
def test_strings_are_quoted_as_rfc_8785_quotes_them(text):
    assert canonical_json(text) == rfc8785.dumps(text)


def test_object_keys_ascend_in_utf_16():
    """U+1F600 sorts before U+FFFD by its first UTF-16 unit, after it by code point."""
    assert canonical_json({"\ufffd": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufffd":1}'.encode()


@pytest.mark.parametrize(
    "value",
    [0.5, 1.0, 2**53, -(2**53), float("nan"), "\ud800", ["\udfff"], {"\ud800": 1}, {1: 2}, (1,)],
)
def test_values_with_two_spellings_or_none_are_refused(value):
    assert refusal(canonical_json, value) == "json/NotAllowed"


def nested(depth):
    value = 0
    for _ in range(depth):
        value = [value]
    return value


def test_nesting_ends_at_its_limit():
    canonical_json(nested(NESTING_MAX))

    assert refusal(canonical_json, nested(NESTING_MAX + 1)) == "json/TooDeep"
    text = b"[" * 100_000 + b"]" * 100_000
    assert refusal(parse_json, text, bytes_max=300_000) == "json/TooDeep"


def test_a_value_ends_at_its_limit_of_bytes():
    canonical_json("a" * (VALUE_BYTES_MAX - 2))

    assert refusal(canonical_json, "a" * (VALUE_BYTES_MAX - 1)) == "json/TooLarge"
    assert refusal(parse_json, b"[1, 2]", bytes_max=5) == "json/TooLarge"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b'{"a": 1, "a": 1}', "json/NotAllowed"),
        (b'[{"b": {"a": 1, "c": 2, "a": 3}}]', "json/NotAllowed"),
        (b"1.0", "json/NotAllowed"),
        (b"1e3", "json/NotAllowed"),
        (b"NaN", "json/NotAllowed"),
        (b"-Infinity", "json/NotAllowed"),
        (b"9007199254740992", "json/NotAllowed"),
        (b"1" * 5000, "json/Malformed"),
        (b'"\\ud800"', "json/NotAllowed"),
        (b'{"\\udc00": 1}', "json/NotAllowed"),
        (b'"\xff"', "json/Malformed"),
        (b"[1", "json/Malformed"),
        (b"", "json/Malformed"),
        (b"1 2", "json/Malformed"),
    ],
)
def test_text_with_two_meanings_or_none_is_refused(text, code):
    assert refusal(parse_json, text, bytes_max=10_000) == code


def test_a_pair_of_surrogate_escapes_is_the_character_it_means():
    assert parse_json(b'"\\ud83d\\ude00"', bytes_max=100) == "\U0001f600"


# --- names, salts, facets --------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", "A", "_fields", "_facets", "a" * 65, "a b", "ä", "a\n", "a-b"]
)
def test_names_outside_the_alphabet_are_refused(name):
    assert refusal(record, {name: 1}) == "record/BadName"


def test_a_record_has_at_most_256_fields():
    full = {f"f{number}": number for number in range(NAMES_MAX)}

    assert len(record(full).hashes) == NAMES_MAX + 1

    assert refusal(record, {**full, "more": 1}) == "record/TooManyFields"


def test_the_values_of_a_record_end_at_eight_mebibytes_together():
    large = "a" * (VALUE_BYTES_MAX - 2)
    fields = {f"f{number}": large for number in range(8)}
    record(fields)

    assert refusal(record, {**fields, "g": 1}) == "record/TooLarge"


def test_salts_are_hkdf_of_the_secret():
    """RFC 5869 by the cryptography library, an independent implementation."""
    for name in ("prompt", "_fields", "_facets", "a" * 64):
        kdf = HKDF(algorithm=SHA256(), length=32, salt=b"colophon/salt/v1", info=name.encode())
        assert SaltKey(SECRET).salt(name) == kdf.derive(SECRET)


def test_salts_differ_between_names_and_between_records():
    secrets = [sha256(bytes([number])).digest() for number in range(9)]
    salts = [SaltKey(secret).salt(name) for secret in secrets for name in ("a", "b", "_fields")]

    assert len(set(salts)) == len(salts)


def test_equal_contents_with_two_secrets_have_nothing_in_common():
    one, other = make(secret=SECRET), make(secret=flip(SECRET))

    assert not set(one.hashes) & set(other.hashes)
    assert one.facets_hash != other.facets_hash


def test_facets_of_anchor_record_are_salted_with_zeros_and_those_of_a_log_are_not():
    facets = Facets(language="en")

    assert record({}, context=ACTOR, facets=facets).facets_hash == facets_hash(facets, PUBLIC_SALT)
    assert record({}, context=LOG, facets=facets).facets_hash != facets_hash(facets, PUBLIC_SALT)


def test_a_leaf_depends_on_network_context_and_every_part():
    base = make()
    others = [
        replace(base, genesis_hash=flip(GENESIS)),
        replace(base, context=b"\x05" + flip(LOG[1:])),
        replace(base, facets=Facets()),
        replace(base, fields={**base.fields, "output": "other"}),
        replace(base, fields={**base.fields, "more": None}),
    ]

    assert len({base.leaf, *(other.leaf for other in others)}) == 6


def test_a_secret_of_another_length_or_a_foreign_context_is_misuse():
    with pytest.raises(Misuse, match="31 bytes"):
        record({}, secret=SECRET[:31])
    with pytest.raises(Misuse, match="log or an actor"):
        record({}, context=b"\x08" + bytes(20))


def test_a_recording_shows_neither_secret_nor_content():
    shown = repr(make())

    assert SECRET.hex() not in shown
    assert "Broadway" not in shown


# --- disclosures -----------------------------------------------------------------------------


@given(contents, facet_sets, st.sampled_from([LOG, ACTOR]), st.booleans(), st.data())
def test_any_subset_of_any_record_can_be_disclosed(fields, facets, context, with_facets, data):
    recording = record(fields, context=context, facets=facets)
    shown = data.draw(st.sets(st.sampled_from(sorted(fields)))) if fields else set()

    statement = open_disclosure(disclose(recording, shown, facets=with_facets), GENESIS)

    assert statement.leaf == recording.leaf
    assert statement.values == {name: fields[name] for name in shown}
    assert statement.names == tuple(sorted(fields))
    assert set(statement.withheld) == set(fields) - shown
    assert statement.facets == (facets if with_facets else None)


def test_a_field_that_does_not_exist_cannot_be_disclosed():
    with pytest.raises(Misuse, match="no field 'reasoning'"):
        disclose(make(), ["reasoning"])


def test_nothing_withheld_stands_in_a_disclosure():
    shown = repr(disclose(make(), ["gen_ai.request.model"], facets=False))

    assert "Broadway" not in shown
    assert SaltKey(make().secret).salt("prompt").hex() not in shown
    assert repr(SaltKey(make().secret).salt("prompt")) not in shown


def broken(disclosure, **changes):
    """Return the code with which a changed disclosure is refused."""
    return refusal(open_disclosure, replace(disclosure, **changes), GENESIS)


def with_field(disclosure, position, **changes):
    """Return the revealed fields with one of them changed."""
    revealed = list(disclosure.revealed)
    revealed[position] = replace(revealed[position], **changes)
    return tuple(revealed)


def test_any_part_changed_is_refused_or_gives_another_leaf():
    shown = disclose(make(), ["output", "prompt"])
    first, output, prompt = shown.revealed

    leaf = open_disclosure(shown, GENESIS).leaf

    assert open_disclosure(shown, flip(GENESIS)).leaf != leaf
    other_log = replace(shown, context=b"\x05" + flip(LOG[1:]))
    assert open_disclosure(other_log, GENESIS).leaf != leaf
    assert broken(shown, content_root=flip(shown.content_root)) == "merkle/BadProof"
    assert broken(shown, facets_hash=flip(shown.facets_hash)) == "record/FacetsDiffer"
    assert broken(shown, facets=Facets()) == "record/FacetsDiffer"
    assert broken(shown, facets_salt=flip(shown.facets_salt)) == "record/FacetsDiffer"
    for change in (
        {"value": "another"},
        {"salt": flip(output.salt)},
        {"path": output.path[:-1]},
        {"path": (flip(output.path[0]), *output.path[1:])},
    ):
        assert broken(shown, revealed=with_field(shown, 1, **change)) == "merkle/BadProof"
    assert broken(shown, revealed=with_field(shown, 1, name="prompt")) == "record/WrongIndex"
    assert broken(shown, revealed=with_field(shown, 1, index=3)) == "record/WrongIndex"
    assert broken(shown, revealed=(first, prompt, output)) == "record/FieldOrder"
    assert broken(shown, revealed=(first, output, output)) == "record/FieldOrder"


@given(st.binary(min_size=32, max_size=32).filter(any), st.integers(0, 4), st.integers(0, 9))
def test_no_byte_of_a_path_or_salt_can_be_changed(noise, position, step):
    shown = disclose(make(), EXAMPLES["text"][1])
    item = shown.revealed[position]
    path = list(item.path)
    step %= len(path)
    path[step] = bytes(a ^ b for a, b in zip(path[step], noise, strict=True))
    salt = bytes(a ^ b for a, b in zip(item.salt, noise, strict=True))

    changed_path = with_field(shown, position, path=tuple(path))
    changed_salt = with_field(shown, position, salt=salt)

    assert broken(shown, revealed=changed_path) == "merkle/BadProof"
    assert broken(shown, revealed=changed_salt) == "merkle/BadProof"


def forge(listed, hashed, count=None):
    """Return a disclosure whose tree holds ``hashed`` below a list that says ``listed``.

    It is internally sound: every path leads to its root. This is what a dishonest recorder
    could anchor.
    """
    key = SaltKey(SECRET)
    entries = [("_fields", listed), *hashed]
    tree = LogTree([field_hash(n, key.salt(n), canonical_json(v)) for n, v in entries])
    revealed = tuple(
        RevealedField(
            name=name,
            index=index,
            salt=key.salt(name),
            value=value,
            path=tuple(tree.inclusion_proof(index)),
        )
        for index, (name, value) in enumerate(entries)
    )
    return Disclosure(
        context=LOG,
        fields=len(entries) if count is None else count,
        content_root=tree.root,
        facets_hash=bytes(32),
        facets=None,
        facets_salt=None,
        revealed=revealed,
    )


@pytest.mark.parametrize(
    ("listed", "hashed", "code"),
    [
        (["output", "output"], [("output", 1), ("output", 2)], "record/NamesNotAscending"),
        (["output"], [("output", 1), ("output", 2)], "record/WrongCount"),
        (["output", "prompt"], [("output", 1)], "record/WrongCount"),
        (["prompt", "output"], [("prompt", 1), ("output", 2)], "record/NamesNotAscending"),
        (["output", "prompt"], [("output", 1), ("output", 2)], "record/WrongIndex"),
        (["Output"], [("Output", 1)], "record/BadName"),
        (["_fields"], [("_fields", [])], "record/BadName"),
        ([7], [("output", 1)], "record/Malformed"),
        ("output", [("output", 1)], "record/Malformed"),
        ([f"f{n}" for n in range(257)], [], "record/TooManyFields"),
    ],
)
def test_a_dishonest_record_cannot_be_disclosed(listed, hashed, code):
    assert refusal(open_disclosure, forge(listed, hashed), GENESIS) == code


def test_a_sound_forgery_shows_that_the_forger_of_these_tests_works():
    statement = open_disclosure(forge(["a", "b"], [("a", 1), ("b", 2)]), GENESIS)

    assert statement.values == {"a": 1, "b": 2}


def test_a_count_other_than_the_trees_is_refused():
    shown = disclose(make(), [])

    for count in (1, 5, 7, 257):
        assert broken(shown, fields=count) in ("merkle/BadProof", "record/WrongCount")


def test_values_revealed_together_end_at_eight_mebibytes():
    large = "a" * (VALUE_BYTES_MAX - 2)
    many = [(f"f{number}", large) for number in range(9)]

    shown = forge([name for name, _ in many], many)

    assert refusal(open_disclosure, shown, GENESIS) == "record/TooLarge"


@pytest.mark.parametrize(
    "changes",
    [
        {"context": b"\x08" + bytes(20)},
        {"context": LOG[:20]},
        {"content_root": bytes(31)},
        {"facets_hash": bytes(33)},
        {"facets_salt": bytes(31)},
        {"facets_salt": None},
        {"facets": None},
        {"fields": 0},
        {"fields": 258},
        {"revealed": ()},
    ],
)
def test_a_disclosure_of_another_shape_is_refused(changes):
    shown = disclose(make(), ["output"])

    assert broken(shown, **changes) == "record/Malformed"


def test_the_list_of_names_must_come_first_and_under_its_name():
    shown = disclose(make(), ["output"])

    assert broken(shown, revealed=shown.revealed[1:]) == "record/Malformed"
    assert broken(shown, revealed=with_field(shown, 0, name="output")) == "record/Malformed"
    assert broken(shown, revealed=with_field(shown, 1, index=6)) == "record/Malformed"
    assert broken(shown, revealed=with_field(shown, 0, salt=bytes(31))) == "record/Malformed"


def test_facets_of_anchor_record_with_another_salt_are_refused():
    shown = disclose(make("structures"), [])

    assert broken(shown, facets_salt=bytes(31) + b"\x01") == "record/Malformed"


def test_the_examples_in_the_documentation_run():
    """The code blocks of docs/record.md, one after the other, from the repository's root."""
    root = Path(__file__).parents[2]
    text = (root / "docs" / "record.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    code = "\n".join(blocks).replace("tests/vectors/record.json", VECTORS.as_posix())

    names = {}
    exec(compile(code, "docs/record.md", "exec"), names)

    assert len(blocks) == 2
    assert "leaf_of" in names
