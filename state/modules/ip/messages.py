"""What users say about IP: payloads and events of the family (docs/ip.md)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import field

from chain.codec import U32, U64, Hash
from chain.fields import Blob, blob, data, listing
from chain.ids import AnyId, Holder, IpId
from chain.types import U16_MAX

from ...module import Event, Message
from .asset import (
    NOTE_BYTES_MAX,
    AiDisclosure,
    Creator,
    Identifier,
    IpKind,
    Media,
    ModelFacts,
    Relation,
    RelationTo,
    Rights,
    Scope,
    SoftBinding,
)

TITLE_BYTES_MAX = 256
METADATA_BYTES_MAX = 16_384
CREATORS_MAX = 64
RELATIONS_MAX = 64
"""Relations of one registration."""
BINDINGS_MAX = 8


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
        """The asset, its registration, its content row; of a precommit two rows; edges."""
        return self.WRITES + len(self.relations) + (2 if self.salt else 0)


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

    WRITES = 3


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
    WRITES = 3


class AcceptTransfer(Message, tag="ip.accept_transfer"):
    """Take an offered IP (N-ip.7)."""

    ip: IpId
    if_state: U64 | None = None

    WEIGHT = 30
    WRITES = 3


class WithdrawTransfer(Message, tag="ip.withdraw_transfer"):
    """Take an offer back (N-ip.7)."""

    ip: IpId

    WRITES = 3


class Execute(Message, tag="ip.execute"):
    """Act as an IP the actor owns (N-ip.9); ``nested`` holds encoded messages."""

    ip: IpId
    nested: Annotated[list[Annotated[bytes, data(U16_MAX)]], listing(64, items_min=1)]

    WEIGHT = 10
    WRITES = 2


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
