"""Intellectual property assets: who made what, from what, and who owns it now (docs/ip.md).

asset.py: how a work is described; messages.py: what users say; rows.py: what is kept; rules.py:
what happens, with precommits.py; queries.py: what can be asked.
"""

from __future__ import annotations

from ...module import Module, Scanner
from . import messages as m
from . import precommits, queries, rows, rules
from .rows import IPS, Ip, is_expired, require_exists, require_owner, require_registered
from .rules import store

__all__ = [
    "IPS", "MODULE", "Ip", "is_expired", "require_exists", "require_owner", "require_registered",
    "store",
]  # fmt: skip


def check_contents(state: Scanner) -> str | None:
    """Every place of a content is an IP with that content hash, the list ordered (N-ip.2)."""
    for key, content in rows.CONTENTS.scan(state):
        order = [(place.height, place.index) for place in content.places]
        if order != sorted(order):
            return f"the places of content {key.hex()} are out of order"
        for place in content.places:
            row = IPS.get(state, place.ip)
            if row is None or row.content_hash != key:
                return f"content {key.hex()} names {place.ip.hex()}, which has other content"
    return None


MODULE = Module(
    name="ip",
    version=3,
    messages={
        m.Precommit: precommits.apply_precommit,
        m.Register: rules.apply_register,
        m.AcceptCredit: rules.apply_accept_credit,
        m.SetRights: rules.apply_set_rights,
        m.UpdateMetadata: rules.apply_update_metadata,
        m.FreezeMetadata: rules.apply_freeze_metadata,
        m.SetUpdater: rules.apply_set_updater,
        m.Relate: rules.apply_relate,
        m.RemoveRelation: rules.apply_remove_relation,
        m.AcceptRelation: rules.apply_accept_relation,
        m.Transfer: rules.apply_transfer,
        m.AcceptTransfer: rules.apply_accept_transfer,
        m.WithdrawTransfer: rules.apply_withdraw_transfer,
        m.Execute: rules.apply_execute,
    },
    events=(
        m.Precommitted, m.Registered, m.CreditAccepted, m.Revised, m.Frozen, m.UpdaterSet,
        m.Related, m.RelationRemoved, m.RelationAccepted, m.TransferOffered, m.TransferWithdrawn,
        m.Transferred, m.Executed,
    ),
    tables=(
        rows.IPS, rows.CONTENTS, rows.PRECOMMITS, rows.QUEUES, rows.QUEUED, rows.REVISIONS,
        rows.UPDATERS, rows.EDGES, rows.OFFERS, rows.CREDITS, rows.REGISTRATIONS,
    ),
    queries={
        "get": queries.get,
        "list": queries.list_ips,
        "by_content": queries.by_content,
        "revisions": queries.revisions,
        "relations": queries.relations,
    },
    index=queries.index,
    invariants={"ip/contents": check_contents},
)  # fmt: skip
