"""Catch-up between simulated nodes: one question, one answer, checked as a node checks it (C18)."""

from __future__ import annotations

from chain.application import finish
from chain.block import Block, Body
from chain.codec import encode
from chain.finality import FinalityProof, LightClient
from chain.header import Header
from consensus.catchup import Base, answer_range, check_range, next_range
from consensus.messages import RangeAnswer

from .node import Node
from .setting import Setting


def ask_range(setting: Setting, node: Node, peer: Node) -> tuple[list[Block], FinalityProof] | None:
    """Return the blocks after a node's newest that a peer gives, checked, and their proof.

    None if it gives nothing; raises ``Rejected`` if what it gives is no good.
    """
    length = setting.params.epoch_length
    blocks = node.app.blocks
    base = Base(setting.genesis_hash, 0, setting.genesis_time_ms)
    if blocks:
        header = blocks[-1].header
        base = Base(blocks[-1].id, header.height, header.time_ms)
    client = LightClient(setting.genesis_hash, length, base.height // length, setting.committee)
    request = next_range(base, client)
    theirs = peer.app.blocks

    def load(height: int) -> tuple[tuple[Header, Body], int]:
        item = theirs[height - 1].header, theirs[height - 1].body
        return item, len(encode(item))

    found = finish(answer_range(request, len(theirs), length, load, peer.app.proofs.get))
    answer = None if found is None else RangeAnswer(*found)
    if peer.mischief is not None:
        answer = peer.mischief.range_answer(peer, answer)
    if answer is None:
        return None
    return check_range(answer, request, base, client, setting.verifier), answer.proof
