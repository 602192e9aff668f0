"""The journal's format: what a validator promised, and what it needs to keep its promises (J1–J7).

A journal is a stream of records ``u32 length ‖ u32 crc32 ‖ u64 seq ‖ payload``, numbers
big-endian. A payload says, beside its record, up to which record the stream was known to be
synced when it was written. That is what tells a torn tail, which every crash may leave, from
damage to something that was once durable, after which nobody may sign.

This file turns records into bytes and back; files, syncs and rotation are the host's.
"""

from __future__ import annotations

from binascii import crc32
from dataclasses import dataclass
from struct import Struct
from typing import Annotated

import msgspec

from chain.block import BODY_BYTES_MAX, PROPOSAL_BYTES_MAX, Attachments, Body
from chain.certificate import Certificate
from chain.codec import U64, Decoder, Hash, Record, encode
from chain.errors import Corruption, Misuse, Rejected
from chain.header import HEADER_BYTES_MAX, Header
from chain.vote import Vote

_HEAD = Struct(">IIQ")
HEAD_BYTES = _HEAD.size
"""16 bytes before every payload."""
PAYLOAD_BYTES_MAX = PROPOSAL_BYTES_MAX
"""The largest record is a body, or its attachments."""
SEGMENT_BYTES = 64 * 1024 * 1024
"""A host starts a new file, after a sync, when this is reached (J6)."""

assert BODY_BYTES_MAX + HEADER_BYTES_MAX < PAYLOAD_BYTES_MAX


class BegunRecord(Record, tag="begun"):
    """Whatever was signed before this record binds no more; what comes after it is journalled.

    It is written where a key is made, where signing begins without an intact journal (C15), and
    at the head of every further segment of an intact one (J6).
    """


class VoteRecord(Record, tag="vote"):
    """A vote of my own: a promise."""

    vote: Vote


class BlockRecord(Record, tag="block"):
    """A block I am about to FINALIZE; synced with the vote (C4)."""

    header: Header
    body: Body


class AttachmentsRecord(Record, tag="attachments"):
    """Attachments of a block, so that they can be served after a restart; never synced for."""

    block_id: Hash
    attachments: Attachments


class CertificateRecord(Record, tag="certificate"):
    """A certificate, assembled or received; synced with whatever comes next."""

    certificate: Certificate


class FinalisedRecord(Record, tag="finalised"):
    """The store has committed up to here: older records may go (J6)."""

    epoch: U64
    view: U64
    height: U64
    block_id: Hash


class QuarantineRecord(Record, tag="quarantine"):
    """Promises from before this record may be missing; a vote after it says they bind no more.

    So a restart does not shorten a quarantine. It is kept until its epoch is over (J6).
    """

    epoch: U64


JournalRecord = (
    BegunRecord
    | VoteRecord
    | BlockRecord
    | AttachmentsRecord
    | CertificateRecord
    | FinalisedRecord
    | QuarantineRecord
)


def intact_after(intact: bool, record: JournalRecord) -> bool:
    """Tell whether a journal is intact after one more record (C15); an empty one is not.

    Intact means that no promise can be missing: it begins before the first one that binds.
    """
    match record:
        case BegunRecord() | VoteRecord():
            return True
        case QuarantineRecord():
            return False
        case _:
            return intact


class _Payload(Record):
    synced: Annotated[int, msgspec.Meta(ge=0)]
    """Every record with this seq or a lower one was durable when this one was written."""
    record: JournalRecord


_PAYLOAD = Decoder(_Payload, bytes_max=PAYLOAD_BYTES_MAX, what="journal record")


class JournalWriter:
    """Numbers and encodes records; the host writes the bytes and reports syncs."""

    def __init__(self, next_seq: int = 1) -> None:
        self._next_seq = next_seq
        self._synced = next_seq - 1

    @property
    def last_seq(self) -> int:
        """Number of the newest record; 0 before the first."""
        return self._next_seq - 1

    def encode(self, record: JournalRecord) -> bytes:
        """Return the bytes of the next record of the stream."""
        payload = encode(_Payload(self._synced, record))
        data = _frame(self._next_seq, payload)
        self._next_seq += 1
        return data

    def synced(self, seq: int) -> None:
        """Note that everything up to ``seq`` is durable; later records say so."""
        if not self._synced <= seq < self._next_seq:
            raise Misuse(f"seq {seq} was not written or is older than {self._synced}")
        self._synced = seq


@dataclass(frozen=True, slots=True)
class Replay:
    """What a journal held."""

    records: tuple[JournalRecord, ...]
    next_seq: int
    valid_bytes: int
    """Length up to which the stream is good; the host cuts the rest before writing (J4)."""


def read_journal(data: bytes) -> Replay:
    """Return the records of a stream up to its torn tail, if it has one (J4).

    Raises ``Corruption`` if something that was durable is damaged: a sequence number is missing,
    or a record after the damage knows that the damaged one was synced (J5).
    """
    records: list[JournalRecord] = []
    offset, last = 0, 0
    while offset < len(data):
        found = _record_at(data, offset, last)
        if found is None:
            break
        seq, payload, offset = found
        if last and seq != last + 1:
            raise Corruption(f"the journal goes from record {last} to {seq}")
        last = seq
        records.append(payload.record)
    _require_torn_tail(data, offset, last)
    return Replay(tuple(records), last + 1, offset)


def _frame(seq: int, payload: bytes) -> bytes:
    length = len(payload)
    if length > PAYLOAD_BYTES_MAX:
        raise Misuse(f"a journal record of {length} bytes, at most {PAYLOAD_BYTES_MAX}")
    return _HEAD.pack(length, _checksum(length, seq, payload), seq) + payload


def _checksum(length: int, seq: int, payload: bytes | memoryview) -> int:
    """CRC-32 over ``u32 length ‖ u64 seq ‖ payload``, so no field escapes it (J2)."""
    return crc32(payload, crc32(length.to_bytes(4, "big") + seq.to_bytes(8, "big")))


def _record_at(data: bytes, offset: int, last: int) -> tuple[int, _Payload, int] | None:
    """Return (seq, payload, end) of the good record at ``offset`` that follows ``last``, if any."""
    if offset + HEAD_BYTES > len(data):
        return None
    length, checksum, seq = _HEAD.unpack_from(data, offset)
    end = offset + HEAD_BYTES + length
    # The number is looked at first: it makes the search after damage cheap.
    if seq <= last or length == 0 or length > PAYLOAD_BYTES_MAX or end > len(data):
        return None
    payload = memoryview(data)[offset + HEAD_BYTES : end]
    if _checksum(length, seq, payload) != checksum:
        return None
    try:
        return seq, _PAYLOAD.decode(bytes(payload)), end
    except Rejected as refusal:
        raise Corruption(f"journal record {seq} has a good checksum but: {refusal}") from None


def _require_torn_tail(data: bytes, offset: int, last: int) -> None:
    """Raise ``Corruption`` if a good record after ``offset`` proves that the damage was durable."""
    for start in range(offset + 1, len(data) - HEAD_BYTES):
        found = _record_at(data, start, last)
        if found is not None and found[1].synced > last:
            raise Corruption(
                f"the journal is damaged after record {last} at byte {offset}, but record "
                f"{found[0]} shows that what stood there was durable"
            )
