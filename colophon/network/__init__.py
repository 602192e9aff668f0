"""The node among others: what goes over which channel, and what is done with what comes.

``router.py`` is the door: the host of consensus speaks to it, and ``p2p`` calls it. Behind it
stand ``exchange.py`` (proposals), ``relay.py`` (transactions), ``ranges.py`` and ``catching_up.py``
(final blocks, given and taken); all of them ask and read with ``questions.py``.
"""
