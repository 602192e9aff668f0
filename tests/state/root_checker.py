"""The state root from a dump of (key, value) pairs, written from protocol.md A1–A5 alone.

It shares no line with the node: whoever has a dump can check a root with these lines.
"""

from hashlib import sha256


def tagged(tag, data):
    return sha256(bytes([len(tag)]) + tag + data).digest()


def subtree(entries, level):
    """Hash the keys whose paths agree in the first ``3 * level`` bits."""
    if not entries:
        return bytes(32)
    if len(entries) <= 4:
        return tagged(b"state-leaf", b"".join(path + value for path, value in sorted(entries)))
    children = [[] for _ in range(8)]
    for path, value in entries:
        bits = int.from_bytes(path, "big") >> (256 - 3 * (level + 1))
        children[bits % 8].append((path, value))
    return tagged(b"state-branch", b"".join(subtree(child, level + 1) for child in children))


def state_root(pairs):
    """Return the root over (key, value) pairs, in any order, no key twice."""
    entries = [(sha256(key).digest(), tagged(b"state-value", value)) for key, value in pairs]
    return subtree(entries, 0)
