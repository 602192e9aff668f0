"""The codec: one encoding per value, equal to msgpack's; everything else is refused, typed."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.block import BODY, PROPOSAL
from chain.certificate import CERTIFICATE
from chain.codec import (
    NESTING_MAX,
    U8,
    U64,
    Decoder,
    Record,
    decode_amount,
    encode,
    encode_amount,
)
from chain.errors import Rejected
from chain.fields import nesting
from chain.genesis import Genesis
from chain.header import HEADER
from chain.transaction import ENVELOPE, Body, Envelope
from state.families import REGISTRY


class Sample(Record):
    """One field of every kind."""

    small: U8
    wide: U64
    raw: bytes
    text: str
    flag: bool
    maybe: bytes | None
    items: list[int]


SAMPLE = Decoder(Sample, bytes_max=4_096, what="sample")
SAMPLES = st.builds(
    Sample,
    st.integers(0, 255),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=300),
    st.text(max_size=80),
    st.booleans(),
    st.none() | st.binary(max_size=40),
    st.lists(st.integers(0, 2**64 - 1), max_size=20),
)


def fields(sample: Sample) -> list[Any]:
    """Return the fields as msgpack takes them."""
    return [getattr(sample, name) for name in sample.__struct_fields__]


def refused(decoder: Decoder[Any], data: bytes) -> str:
    """Return the code with which bytes are refused."""
    with pytest.raises(Rejected) as caught:
        decoder.decode(data)
    return caught.value.code


@given(SAMPLES)
def test_bytes_equal_those_of_msgpack_and_come_back(sample: Sample) -> None:
    data = encode(sample)

    assert data == msgpack.packb(fields(sample), use_bin_type=True)
    assert SAMPLE.decode(data) == sample


@given(SAMPLES, st.data())
def test_every_other_encoding_of_the_same_value_is_refused(sample: Sample, data: Any) -> None:
    raw = encode(sample)
    widened = data.draw(st.sampled_from(list(wider_encodings(raw, sample))))

    assert msgpack.unpackb(widened, raw=False) == fields(sample)
    assert refused(SAMPLE, widened) == "codec/NotCanonical"


def wider_encodings(raw: bytes, sample: Sample) -> list[bytes]:
    """Return longer encodings of the same value: outer header, first integer, text, bytes."""
    rest = raw[1:]
    found = [b"\xdc\x00\x07" + rest, b"\xdd\x00\x00\x00\x07" + rest]
    small = encode(sample.small)
    tail = rest[len(small) :]
    found.append(raw[:1] + b"\xcd" + sample.small.to_bytes(2, "big") + tail)
    found.append(raw[:1] + b"\xcf" + sample.small.to_bytes(8, "big") + tail)
    return found


@given(SAMPLES, st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_another_value_or_refused(
    sample: Sample, place: int, flip: int
) -> None:
    data = bytearray(encode(sample))
    data[place % len(data)] ^= flip

    try:
        other = SAMPLE.decode(bytes(data))
    except Rejected:
        return
    assert encode(other) == bytes(data) and other != sample


@given(st.binary(max_size=200))
def test_garbage_never_raises_anything_but_a_refusal(data: bytes) -> None:
    decoders: list[Decoder[Any]] = [
        SAMPLE, ENVELOPE, HEADER, BODY, CERTIFICATE, PROPOSAL, REGISTRY.body, REGISTRY.message
    ]  # fmt: skip
    for decoder in decoders:
        try:
            value = decoder.decode(data)
        except Rejected:
            continue
        assert encode(value) == data


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "codec/Malformed"),
        (b"\x91" * 60_000, "codec/TooLarge"),
        (b"\x91" * 4_000, "codec/Malformed"),
        (b"\xdd\xff\xff\xff\xff", "codec/Malformed"),
        (b"\xc6\xff\xff\xff\xff", "codec/Malformed"),
        (b"\xc1", "codec/Malformed"),
        (encode(Sample(1, 2, b"", "", True, None, [])) + b"\0", "codec/Malformed"),
        (encode(Sample(1, 2, b"", "", True, None, []))[:-1], "codec/Malformed"),
        (msgpack.packb([1, 2, b"", "", 1, None, []]), "codec/Malformed"),
        (msgpack.packb([1.0, 2, b"", "", True, None, []]), "codec/Malformed"),
        (msgpack.packb([True, 2, b"", "", True, None, []]), "codec/Malformed"),
        (msgpack.packb([-1, 2, b"", "", True, None, []]), "codec/Malformed"),
        (msgpack.packb([1, 2, "", "", True, None, []]), "codec/Malformed"),
        (msgpack.packb([1, 2, b"", b"", True, None, []], use_bin_type=True), "codec/Malformed"),
        (msgpack.packb([1, 2, b"", "", True, None]), "codec/Malformed"),
        (msgpack.packb([1, 2, b"", "", True, None, [], 0]), "codec/Malformed"),
        (msgpack.packb({"small": 1}), "codec/Malformed"),
        (b"\x97\x01\x02\xc4\x00\xa1\xff\xc3\xc0\x90", "codec/Malformed"),
        (b"\xd4\x01\x00", "codec/Malformed"),
    ],
)
def test_malformed_bytes_have_their_code(data: bytes, code: str) -> None:
    assert refused(SAMPLE, data) == code


def test_deep_nesting_is_refused_by_every_decoder_without_recursion() -> None:
    deep = b"\x91" * 60_000

    for decoder in (ENVELOPE, REGISTRY.body, REGISTRY.message, BODY):
        assert refused(decoder, deep) == "codec/Malformed"


def test_no_type_we_decode_nests_deeper_than_the_protocol_allows() -> None:
    kinds: list[Any] = [Envelope, Genesis, *REGISTRY.messages.values(), *REGISTRY.events.values()]

    depths = [nesting(kind) for kind in kinds]

    assert max(depths) + nesting(Body[bytes]) <= NESTING_MAX


@given(st.integers(0, 2**128 - 1))
def test_amounts_are_shortest_big_endian(value: int) -> None:
    data = encode_amount(value)

    assert decode_amount(data) == value
    assert not data.startswith(b"\0")
    with pytest.raises(Rejected, match="NotCanonical"):
        decode_amount(b"\0" + data)


def test_an_amount_has_at_most_sixteen_bytes() -> None:
    with pytest.raises(Rejected, match="Malformed"):
        decode_amount(b"\1" * 17)
