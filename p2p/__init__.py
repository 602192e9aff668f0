"""How nodes talk: handshake, framing, peers, limits (docs/architecture.md).

Carries opaque bytes per channel between nodes of one network; knows no votes and no
transactions. ``Network`` in ``network.py`` is the door; what stands on the wire is in
protocol.md W1–W10.
"""
