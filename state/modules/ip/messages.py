"""What users say about IP: payloads and events of the family (docs/ip.md)."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import field

from chain.codec import U32, U64, Hash, Record
from chain.fields import Blob, Share, blob, data, listing, text
from chain.ids import AnyId, Holder, IpId
from chain.types import U16_MAX

from ...module import Event, Message

TITLE_BYTES_MAX = 256
METADATA_BYTES_MAX = 16_384
NOTE_BYTES_MAX = 1_024
CREATORS_MAX = 64
RELATIONS_MAX = 64
"""Relations of one registration."""
BINDINGS_MAX = 8
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


class Precommit(Message, tag="ip.precommit"):
    """Promise a registration without showing its content (N-ip.1)."""

    commitment: Hash

    WEIGHT = 15
    WRITES = 7


class Register(Message, tag="ip.register"):
    """Register an IP asset; its id can be computed before (N-ip.2)."""

    kind: IpKind
    content_hash: Hash
    media: Media | None = None
    title: Annotated[Blob | None, blob(TITLE_BYTES_MAX)] = None
    metadata: Annotated[Blob | None, blob(METADATA_BYTES_MAX)] = None
    metadata_hash: Hash | None = None
    creators: Annotated[list[Creator], listing(CREATORS_MAX)] = field(default_factory=list)
    rights: Rights = Rights()
    soft_bindings: Annotated[list[SoftBinding], listing(BINDINGS_MAX)] = msgspec.field(
        default_factory=list
    )
    identifiers: Annotated[list[Identifier], listing(BINDINGS_MAX)] = msgspec.field(
        default_factory=list
    )
    ai: AiDisclosure | None = None
    facts: ModelFacts | None = None
    relations: Annotated[list[RelationTo], listing(RELATIONS_MAX)] = msgspec.field(
        default_factory=list
    )
    created_at: U64 = 0
    salt: Hash | None = None

    WEIGHT = 25
    WRITES = 3

    def weight(self) -> int:
        """Every creator, input and relation is looked at once."""
        inputs = len(self.ai.inputs) if self.ai else 0
        return self.WEIGHT + 2 * len(self.creators) + 2 * inputs + 12 * len(self.relations)

    def writes(self) -> int:
        """The asset, its content row, the precommit's rows, an edge each."""
        return self.WRITES + len(self.relations) + (4 if self.salt else 0)


class AcceptCredit(Message, tag="ip.accept_credit"):
    """A creator named by id accepts the credit (N-ip.3)."""

    ip: IpId
    index: Annotated[int, msgspec.Meta(ge=0, lt=CREATORS_MAX)]

    WRITES = 1


class SetRights(Message, tag="ip.set_rights"):
    """Change the declared rights; a dated revision stays (N-ip.4)."""

    ip: IpId
    rights: Rights
    reason: Annotated[Blob | None, blob(NOTE_BYTES_MAX)] = None

    WEIGHT = 25


class UpdateMetadata(Message, tag="ip.update_metadata"):
    """Change the metadata; a dated revision stays (N-ip.4)."""

    ip: IpId
    metadata: Annotated[Blob | None, blob(METADATA_BYTES_MAX)]
    metadata_hash: Hash | None
    reason: Annotated[Blob | None, blob(NOTE_BYTES_MAX)] = None

    WEIGHT = 25


class FreezeMetadata(Message, tag="ip.freeze_metadata"):
    """End metadata updates for ever (N-ip.4)."""

    ip: IpId

    WRITES = 1


class SetUpdater(Message, tag="ip.set_updater"):
    """Let another account change metadata or rights, without owning the IP (N-ip.5)."""

    ip: IpId
    who: Holder
    scope: Scope | None
    expires_at: U64 = 0


class Relate(Message, tag="ip.relate"):
    """Add a typed edge from an IP to another (N-ip.6)."""

    ip: IpId
    relation: Relation
    target: IpId


class RemoveRelation(Message, tag="ip.remove_relation"):
    """Remove an edge; its deposit goes back (N-ip.6)."""

    ip: IpId
    relation: Relation
    target: IpId

    WRITES = 3


class AcceptRelation(Message, tag="ip.accept_relation"):
    """The target's owner agrees that the edge is shown on it (N-ip.6)."""

    source: IpId
    relation: Relation
    target: IpId


class Transfer(Message, tag="ip.transfer"):
    """Give an IP, with all it holds, to another holder (N-ip.7)."""

    ip: IpId
    to: Holder
    if_state: U64 | None = None

    WEIGHT = 30
    WRITES = 2


class AcceptTransfer(Message, tag="ip.accept_transfer"):
    """Take an offered IP (N-ip.7)."""

    ip: IpId

    WEIGHT = 30
    WRITES = 2


class WithdrawTransfer(Message, tag="ip.withdraw_transfer"):
    """Take an offer back (N-ip.7)."""

    ip: IpId


class Execute(Message, tag="ip.execute"):
    """Act as an IP the actor owns (N-ip.9); ``nested`` holds encoded messages."""

    ip: IpId
    nested: Annotated[list[Annotated[bytes, data(U16_MAX)]], listing(64, items_min=1)]

    WEIGHT = 10
    WRITES = 1


class Precommitted(Event, tag="ip.precommitted"):
    """A commitment stands from now on."""

    account: Holder
    commitment: Hash


class Registered(Event, tag="ip.registered"):
    """A new IP asset exists."""

    ip: IpId
    owner: Holder
    kind: IpKind
    content_hash: Hash
    first: bool


class CreditAccepted(Event, tag="ip.credit_accepted"):
    """A creator accepted the credit."""

    ip: IpId
    index: int
    creator: Holder


class Revised(Event, tag="ip.revised"):
    """Metadata or rights have a new revision."""

    ip: IpId
    revision: U32
    by: Holder
    rights: bool


class Frozen(Event, tag="ip.frozen"):
    """Metadata is final."""

    ip: IpId


class UpdaterSet(Event, tag="ip.updater_set"):
    """Someone may (or may no longer) update an IP."""

    ip: IpId
    who: Holder
    scope: Scope | None
    expires_at: U64


class Related(Event, tag="ip.related"):
    """An edge was added."""

    ip: IpId
    relation: Relation
    target: IpId


class RelationRemoved(Event, tag="ip.relation_removed"):
    """An edge was removed."""

    ip: IpId
    relation: Relation
    target: IpId


class RelationAccepted(Event, tag="ip.relation_accepted"):
    """An edge is shown on its target."""

    source: IpId
    relation: Relation
    target: IpId


class TransferOffered(Event, tag="ip.transfer_offered"):
    """An IP waits for its receiver's consent."""

    ip: IpId
    owner: Holder
    to: Holder
    expires_at: U64


class TransferWithdrawn(Event, tag="ip.transfer_withdrawn"):
    """An offer was taken back."""

    ip: IpId
    to: Holder


class Transferred(Event, tag="ip.transferred"):
    """An IP has a new owner."""

    ip: IpId
    owner: Holder
    to: Holder


class Executed(Event, tag="ip.executed"):
    """An owner acted as its IP."""

    ip: IpId
    by: AnyId
    messages: int
