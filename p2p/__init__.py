"""How nodes talk: handshake, framing, peers, limits, gossip (docs/architecture.md).

Carries opaque bytes per channel; knows no votes and no transactions. A network of one validator
needs none of it yet.
"""
