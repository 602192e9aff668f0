"""Rows written straight into a state, as long as rules allow them, for ``bench --worst``."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from chain.codec import encode_amount
from chain.fields import Blob
from chain.ids import NCOLO, Kind
from chain.transaction import KEYS_MAX, SALT_BYTES, Attachment, make_blob
from state.modules import account
from state.modules.ip import asset
from state.modules.ip import messages as im
from state.modules.ip import rows as ir
from state.modules.license import messages as lm
from state.modules.license import rows as lr
from state.modules.royalty import rows as rr
from state.modules.royalty.shares import Policy

BALANCE = encode_amount(10**15)
NOW_MS = 1_700_000_000_000
"""Time of the genesis the cases run on."""

REGISTRATION = bytes(ir.SHORT_BYTES_MAX)
"""As long as one in an IP's own row can be; nobody decodes it in these cases."""


@dataclass(slots=True)
class Scene:
    """The rows under one or several transactions, and the names of what they hold."""

    genesis_hash: bytes = bytes(32)
    rows: dict[bytes, bytes] = field(default_factory=dict)
    names: int = 0
    shared: dict[str, Any] = field(default_factory=dict)
    attachments: list[Attachment] = field(default_factory=list)
    """Of the transaction in hand."""

    def get(self, key: bytes) -> bytes | None:
        """Return a row."""
        return self.rows.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Write a row."""
        self.rows[key] = value

    def delete(self, key: bytes) -> None:
        """Remove a row."""
        self.rows.pop(key, None)

    def name(self, kind: Kind) -> bytes:
        """Return a fresh id."""
        return bytes((kind,)) + self.bytes32()[:20]

    def bytes32(self) -> bytes:
        """Return 32 fresh bytes."""
        self.names += 1
        return sha256(self.names.to_bytes(8, "big")).digest()

    def blob(self, length: int) -> Blob:
        """Return a blob of so many fresh bytes; its content goes with the transaction in hand."""
        content = (self.bytes32() * (length // 32 + 1))[:length]
        named, attachment = make_blob(bytes(SALT_BYTES), content)
        self.attachments.append(attachment)
        return named

    def account(self, keys: list[bytes] | None = None) -> bytes:
        """Make a rich account with sixteen keys."""
        holder = self.name(Kind.ACCOUNT)
        self.fatten(holder, keys or [])
        return holder

    def fatten(self, holder: bytes, keys: list[bytes]) -> None:
        """Give a holder a balance and sixteen keys, ``keys`` among them."""
        every = sorted([*keys, *(self.bytes32() for _ in range(KEYS_MAX - len(keys)))])
        keyset = account.KeySet([account.KeyWeight(key, 1) for key in every], 1)
        account.ACCOUNTS.put(self, holder, account.Account(1, BALANCE, 0, keyset))

    def plain(self, holder: bytes) -> None:
        """Give a holder a balance and no keys of its own."""
        account.ACCOUNTS.put(self, holder, account.Account(1, BALANCE, 0, None))

    def ip(
        self, owner: bytes, content: bytes | None = None, registration: bytes = REGISTRATION
    ) -> bytes:
        """Make an IP whose row is as long as can be."""
        ip = self.name(Kind.IP)
        ir.IPS.put(
            self, ip,
            ir.Ip(1, owner, 2**40, 1, asset.IpKind.MODEL, content or self.bytes32(), 2**40,
                  9_999, NOW_MS, 0, False, 1, 1, 1, 1, registration),
        )  # fmt: skip
        return ip

    def registration(
        self, creators: int, inputs: int, relations: int = 0, who: bytes | None = None
    ) -> im.Register:
        """Return a registration with lists of these lengths and the longest texts."""
        known = [self.known_ip() for _ in range(max(inputs, 1))]
        holder = who or known[0]
        share = 100_000_000 // max(creators, 1)
        return im.Register(
            asset.IpKind.MODEL, self.bytes32(),
            media=asset.Media("m" * 64, 2**40, asset.HashAlg.SHA256),
            creators=[asset.Creator(holder, None, None, share)
                      for _ in range(creators)],
            rights=asset.Rights(jurisdiction="j" * 16),
            soft_bindings=[asset.SoftBinding("a" * 64, bytes(256))] * im.BINDINGS_MAX,
            identifiers=[asset.Identifier("s" * 32, "v" * 256)] * im.BINDINGS_MAX,
            ai=asset.AiDisclosure(
                asset.Role.PROVIDER, "d" * 64, known[0], "n" * 128, "v" * 64, bytes(32), bytes(32),
                sorted(known), NOW_MS, [asset.Mark(asset.MarkKind.LOG, "a" * 64, bytes(32))] * 8,
                False, False, asset.HumanReview(True, None), asset.Exemption.NONE, "l" * 35, None,
            ),
            facts=asset.ModelFacts(bytes(32), bytes(32), bytes(32), NOW_MS, NOW_MS),
            relations=[asset.RelationTo(asset.Relation(number % 40), known[number])
                       for number in range(relations)],
        )  # fmt: skip

    def known_ip(self) -> bytes:
        """Return an IP of nobody's: one that is only looked at."""
        return self.ip(bytes(21))

    def terms(self, **changes: Any) -> bytes:
        """Register terms as long as terms can be; returns their id."""
        terms = long_terms(len(self.rows), **changes)
        terms_id = lr.terms_id_of(terms)
        lr.TERMS.put(self, terms_id, lr.TermsRow(1, 2**40, terms, bytes(21), BALANCE))
        return terms_id

    def attach(self, ip: bytes, terms_id: bytes) -> None:
        """Offer an IP under terms."""
        config = lm.Config(encode_amount(10**6), 1_000_000, False)
        row = lr.Attachment(1, False, config, bytes(21), encode_amount(10**6))
        lr.ATTACHMENTS.put(self, ip + terms_id, row)
        lr.LICENSINGS.put(self, ip, lr.Licensing(1, False))

    def put_lineage(self, ip: bytes, parents: list[bytes], ancestors: int, edges: int) -> None:
        """Write the lineage of a derivative of these parents, with shares of nothing."""
        links = rr.pack_links(rr.Link(parent, 0) for parent in parents)
        rr.LINEAGES.put(self, ip, rr.Lineage(1, Policy.LAP, 0, ancestors, edges, 1, links))

    def lineage(self, depth: int) -> bytes:
        """Return an IP with so many ancestors, each with eight edges to those above it."""
        if "lineage" not in self.shared:
            chain = [self.known_ip() for _ in range(depth + 1)]
            for place, node in enumerate(chain):
                self.put_lineage(node, chain[max(0, place - 8) : place], place, 8 * place)
            self.shared["lineage"] = chain
        ip: bytes = self.shared["lineage"][-1]
        return ip


def long_terms(number: int, **changes: Any) -> lm.Terms:
    """Return commercial terms with every list full."""
    given: dict[str, Any] = {
        "royalty_policy": Policy.LAP, "commercial_use": True, "derivatives_allowed": True,
        "derivatives_reciprocal": True, "currency": NCOLO, "rev_share": 1_000_000,
        "minting_fee": encode_amount(10**6),
        "territory": [f"{place:016d}" for place in range(64)],
        "field_of_use": [f"{place:064d}" for place in range(15)] + [f"{number + 100:064d}"],
    }  # fmt: skip
    return lm.Terms(**{**given, **changes})
