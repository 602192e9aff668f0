"""No answer has a list without an end: it is a page with a cursor, or a constant bounds it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chain.committee import MEMBERS_MAX
from chain.json_schema import json_schema
from chain.transaction import KEYS_MAX
from rpc.table import make_table
from state.modules.anchor.messages import PARENTS_MAX as RECORD_PARENTS_MAX
from state.modules.license.messages import PARENTS_MAX
from state.modules.royalty.messages import DENOMS_MAX
from state.queries import RANGE_MAX

from .world import make_world

BLOCK = "of one block, which its bytes bound"
PROOF = "of a proof: as deep as a tree is, or as long as proofs may be"
MESSAGE = "as long as the message that made it may make it"
BOUNDED: dict[str, str | int] = {
    "account.get .keys": KEYS_MAX,
    "anchor.consistency .path": PROOF,
    "anchor.get .writers": MESSAGE,
    "anchor.list .items[].writers": MESSAGE,
    "anchor.proof .path": PROOF,
    "anchor.record .parents": RECORD_PARENTS_MAX,
    "anchor.records .items[].parents": RECORD_PARENTS_MAX,
    "chain.block .parent_certificate.signatures": MEMBERS_MAX,
    "chain.block .transactions": BLOCK,
    "chain.block .evidence": BLOCK,
    "chain.blocks ": RANGE_MAX,
    "chain.certificate .proof.finalization.signatures": MEMBERS_MAX,
    "chain.certificate .proof.headers": PROOF,
    "chain.genesis .params.modules": "one for each family",
    "chain.genesis .validators": MEMBERS_MAX,
    "chain.params .modules": "one for each family",
    "chain.validators .members": MEMBERS_MAX,
    "ip.lineage .ancestors": "1 000, and `complete` says whether that is all",
    "ip.lineage .descendants": "1 000, and `complete` says whether that is all",
    "license.quote .shares": PARENTS_MAX,
    "royalty.get .parents": PARENTS_MAX,
    "royalty.get .shares": PARENTS_MAX,
    "royalty.get .vaults": DENOMS_MAX,
    "royalty.list .items[].parents": PARENTS_MAX,
    "royalty.list .items[].shares": PARENTS_MAX,
    "royalty.list .items[].vaults": DENOMS_MAX,
    "state.proof .finality.finalization.signatures": MEMBERS_MAX,
    "state.proof .finality.headers": PROOF,
    "state.proof .proof.leaf": PROOF,
    "state.proof .proof.levels": PROOF,
    "tx.get .receipt.events": MESSAGE,
    "tx.proof .finality.finalization.signatures": MEMBERS_MAX,
    "tx.proof .finality.headers": PROOF,
    "tx.proof .path": PROOF,
    "tx.simulate .events": MESSAGE,
    "tx.submit_and_wait .receipt.events": MESSAGE,
    "tx.submit_batch ": "one for each transaction that was sent",
    **{
        f"{name}.{field}": MESSAGE
        for name in ("ip.get ", "ip.list .items[]")
        for field in ("creators", "ai.inputs", "ai.marks", "soft_bindings", "identifiers")
    },
    **{
        f"{name}.terms.{field}": MESSAGE
        for name in ("license.get ", "license.list .items[]")
        for field in ("territory", "field_of_use")
    },
}
"""Lists that are no pages, and what bounds them."""


def lists_in(schema: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every list in a schema that may have any length."""
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "array" and "prefixItems" not in schema:
        yield path
    for name, field in schema.get("properties", {}).items():
        yield from lists_in(field, f"{path}.{name}")
    yield from lists_in(schema.get("items"), path + "[]")
    for key in ("anyOf", "oneOf", "prefixItems"):
        for choice in schema.get(key, ()):
            yield from lists_in(choice, path)


def test_every_list_is_a_page_or_bounded() -> None:
    found = set()
    for name, method in make_table(make_world()).items():
        schema = json_schema(method.result)
        for path in lists_in(schema):
            if path == ".items":
                assert "cursor" in schema["properties"], f"{name} has no cursor"
                assert "cursor" in method.params, f"{name} takes no cursor"
                assert json_schema(method.params["limit"].kind)["maximum"] <= 200, name
            else:
                found.add(f"{name} {path}")

    assert found == BOUNDED.keys()
