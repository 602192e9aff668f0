"""How a work is described: kind, creators, rights, relations, and AI's part in it (docs/ip.md)."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from chain.codec import U64, Hash, Record
from chain.fields import Blob, Share, blob, data, listing, text
from chain.ids import Holder, IpId

NOTE_BYTES_MAX = 1_024
INPUTS_MAX = 256


class IpKind(IntEnum):
    """What kind of thing is registered. Numbers are permanent."""

    WORK = 0
    IMAGE = 1
    AUDIO = 2
    VIDEO = 3
    TEXT = 4
    CODE = 5
    DATASET = 6
    MODEL = 7
    ADAPTER = 8
    PROMPT = 9
    AGENT = 10
    CHARACTER = 11
    OUTPUT = 12
    COLLECTION = 13


class HashAlg(IntEnum):
    """How ``content_hash`` was made; the last is for guessable content such as prompts."""

    SHA256 = 0
    BLAKE3 = 1
    SHA3_256 = 2
    SALTED_SHA256 = 3


class Use(IntEnum):
    """What a rights holder says about one use."""

    UNSET = 0
    ALLOWED = 1
    NOT_ALLOWED = 2
    CONSTRAINED = 3


class Basis(IntEnum):
    """Why the registrant may register."""

    OWN = 0
    LICENSED = 1
    ASSIGNED = 2
    PUBLIC_DOMAIN = 3
    TDM_EXCEPTION = 4
    CONSENT = 5


class Relation(IntEnum):
    """How one IP relates to another; the first 21 are of stories, the rest of AI."""

    APPEARS_IN = 0
    BELONGS_TO = 1
    PART_OF = 2
    CONTINUES_FROM = 3
    LEADS_TO = 4
    FORESHADOWS = 5
    CONFLICTS_WITH = 6
    RESULTS_IN = 7
    DEPENDS_ON = 8
    SETS_UP = 9
    FOLLOWS_FROM = 10
    REVEALS_THAT = 11
    DEVELOPS_OVER = 12
    INTRODUCES = 13
    RESOLVES_IN = 14
    CONNECTS_TO = 15
    RELATES_TO = 16
    TRANSITIONS_FROM = 17
    INTERACTED_WITH = 18
    LEADS_INTO = 19
    PARALLEL = 20
    TRAINED_ON = 21
    FINETUNED_FROM = 22
    GENERATED_FROM = 23
    REQUIRES_DATA = 24
    BASED_ON = 25
    INFLUENCES = 26
    CREATES = 27
    UTILIZES = 28
    DERIVED_FROM = 29
    PRODUCES = 30
    MODIFIES = 31
    REFERENCES = 32
    OPTIMIZED_BY = 33
    INHERITS = 34
    APPLIES_TO = 35
    COMBINES = 36
    GENERATES_VARIANTS = 37
    EXPANDS_ON = 38
    CONFIGURES = 39
    ADAPTS_TO = 40


class Role(IntEnum):
    """Who discloses, in the EU AI Act's words."""

    PROVIDER = 0
    DEPLOYER = 1


class Exemption(IntEnum):
    """Why an AI output need not be labelled (EU AI Act, Art. 50)."""

    NONE = 0
    ASSISTIVE = 1
    EDITORIAL = 2
    ARTISTIC = 3
    LAW = 4


class MarkKind(IntEnum):
    """How an AI output is marked as such."""

    METADATA = 0
    WATERMARK = 1
    FINGERPRINT = 2
    LOG = 3


class Scope(IntEnum):
    """What an updater may change."""

    METADATA = 0
    RIGHTS = 1
    BOTH = 2


class Media(Record):
    """The file behind the content hash."""

    mime: Annotated[str, text(64)]
    size: U64
    hash_alg: HashAlg


class Creator(Record):
    """Someone who made the work: an id or a name, and the part they had in it (credit)."""

    id: Holder | None
    name: Annotated[Blob | None, blob(256)]
    role: Annotated[Blob | None, blob(64)]
    contribution: Share


class SoftBinding(Record):
    """A perceptual hash or watermark id. Public and cannot be erased."""

    alg: Annotated[str, text(64)]
    value: Annotated[bytes, data(256)]


class Identifier(Record):
    """An identifier of another registry (ISBN, DOI, C2PA manifest, …). Public for ever."""

    scheme: Annotated[str, text(32)]
    value: Annotated[str, text(256)]


class Training(Record):
    """May the work be mined, used in inference, trained on: CAWG's four uses."""

    data_mining: Use = Use.UNSET
    ai_inference: Use = Use.UNSET
    ai_training: Use = Use.UNSET
    ai_generative_training: Use = Use.UNSET


class Rights(Record):
    """What the holder declares about the work's rights."""

    training: Training = Training()
    constraint: Annotated[Blob | None, blob(NOTE_BYTES_MAX)] = None
    basis: Basis = Basis.OWN
    consent_hash: Hash | None = None
    jurisdiction: Annotated[str, text(16)] = ""


class Mark(Record):
    """One mark on an AI output."""

    kind: MarkKind
    alg: Annotated[str, text(64)]
    hash: Hash


class HumanReview(Record):
    """Whether a person reviewed the output, and who answers for it."""

    done: bool
    responsible: Annotated[Blob | None, blob(256)]


class AiDisclosure(Record):
    """What marketplaces and the EU AI Act's Art. 50 ask about something an AI made."""

    role: Role
    digital_source_type: Annotated[str, text(64)]
    model: IpId | None
    model_name: Annotated[str, text(128)]
    system_version: Annotated[str, text(64)]
    params_hash: Hash | None
    prompt_commitment: Hash | None
    inputs: Annotated[list[IpId], listing(INPUTS_MAX, ascending=True)]
    generated_at: U64
    marks: Annotated[list[Mark], listing(8)]
    deepfake: bool
    public_interest_text: bool
    human_review: HumanReview
    exemption: Exemption
    language: Annotated[str, text(35)]
    human_contribution: Annotated[Blob | None, blob(NOTE_BYTES_MAX)]


class ModelFacts(Record):
    """What models and datasets may add."""

    training_summary_hash: Hash | None
    copyright_policy_hash: Hash | None
    weights_hash: Hash | None
    dataset_from: U64
    dataset_to: U64


class RelationTo(Record):
    """An edge of a registration."""

    relation: Relation
    target: IpId
