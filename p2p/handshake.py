"""From an open connection to a known peer and two ciphers (protocol.md W1–W3), without a network.

Greetings in clear, three Noise messages with a length before each, and in the last two of them
who is speaking. Every length is checked before its bytes are waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from chain.errors import Rejected

from .buffer import ReceiveBuffer
from .identity import HELLO_BYTES_MAX, Identity, Remote, recognise
from .noise import KEY_BYTES, TAG_BYTES, Cipher, Handshake

PROTOCOL = b"colophon/p2p/1"
"""Name and version of what is spoken here; with the genesis hash it is the Noise prologue."""
NETWORK_BYTES = 8
"""So many first bytes of the genesis hash stand in the greeting. They prove nothing; they let a
node say «another network» where a failing handshake could only say that something differs."""
GREETING_BYTES = len(PROTOCOL) + NETWORK_BYTES
LENGTH_BYTES = 2
MESSAGE_BYTES_MAX = 2 * KEY_BYTES + 2 * TAG_BYTES + HELLO_BYTES_MAX
"""The second message with the longest hello; no handshake message is longer."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What all handshakes of a node have in common."""

    identity: Identity
    genesis_hash: bytes
    hello: bytes
    """``identity.hello(genesis_hash, …)``, made once."""

    @property
    def prologue(self) -> bytes:
        """What both sides must agree on before they start."""
        return PROTOCOL + self.genesis_hash

    @property
    def greeting(self) -> bytes:
        """The first bytes this node sends."""
        return PROTOCOL + self.genesis_hash[:NETWORK_BYTES]


@dataclass(frozen=True, slots=True)
class Secured:
    """A finished handshake."""

    remote: Remote
    send: Cipher
    receive: Cipher
    handshake_hash: bytes


class Opening:
    """One side of the opening of a connection."""

    def __init__(
        self,
        setup: Setup,
        *,
        initiator: bool,
        admit: Callable[[Remote], None],
        ephemeral_key: X25519PrivateKey | None = None,
    ) -> None:
        """``admit`` raises ``Rejected`` for a peer this node does not want; the initiator calls
        it before it says who it is itself. ``ephemeral_key`` is given only by tests.
        """
        self.secured: Secured | None = None
        """The result, once the handshake is finished."""
        self._setup = setup
        self._initiator = initiator
        self._admit = admit
        self._noise = Handshake(
            initiator=initiator,
            static_key=setup.identity.static_key,
            prologue=setup.prologue,
            ephemeral_key=ephemeral_key,
        )
        self._greeted = False
        self._messages = 0

    @property
    def awaited(self) -> str:
        """What the other side has to send next, for the log."""
        return "message" if self._greeted else "greeting"

    def begin(self) -> bytes:
        """Return what is sent at once."""
        first = _framed(self._noise.write()) if self._initiator else b""
        return self._setup.greeting + first

    def advance(self, buffer: ReceiveBuffer) -> bytes:
        """Read what has come; return what is to be sent now. Call until ``secured`` is set.

        Raises ``Rejected`` with ``p2p/NotColophon``, ``p2p/WrongNetwork``, ``p2p/BadHandshake``,
        ``p2p/BadIdentity`` or what ``admit`` raises.
        """
        reply = b""
        if not self._greeted:
            greeting = buffer.take(GREETING_BYTES)
            if greeting is None:
                return reply
            self._check_greeting(bytes(greeting))
        while self.secured is None:
            message = _unframed(buffer)
            if message is None:
                break
            reply += self._hear(message)
        return reply

    def _check_greeting(self, greeting: bytes) -> None:
        if not greeting.startswith(PROTOCOL):
            raise Rejected(
                "p2p/NotColophon", f"it greets with {greeting.hex()}, not {PROTOCOL.decode()}"
            )
        network, own = greeting[len(PROTOCOL) :], self._setup.greeting[len(PROTOCOL) :]
        if network != own:
            raise Rejected(
                "p2p/WrongNetwork",
                f"its genesis hash begins with {network.hex()}, ours with {own.hex()}",
            )
        self._greeted = True

    def _hear(self, message: bytes) -> bytes:
        """Take one Noise message; return the answer to it."""
        payload = self._noise.read(message)
        self._messages += 1
        if not self._initiator and self._messages == 1:
            if payload:
                raise Rejected("p2p/BadHandshake", "the first handshake message has a payload")
            return _framed(self._noise.write(self._setup.hello))
        remote = recognise(payload, self._setup.genesis_hash, self._noise.remote_static)
        self._admit(remote)
        reply = _framed(self._noise.write(self._setup.hello)) if self._initiator else b""
        send, receive = self._noise.split()
        self.secured = Secured(remote, send, receive, self._noise.handshake_hash)
        return reply


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(LENGTH_BYTES, "big") + message


def _unframed(buffer: ReceiveBuffer) -> bytes | None:
    """Return the next Noise message, or None until it is here."""
    prefix = buffer.peek(LENGTH_BYTES)
    if prefix is None:
        return None
    length = int.from_bytes(prefix, "big")
    if not KEY_BYTES <= length <= MESSAGE_BYTES_MAX:
        raise Rejected(
            "p2p/BadHandshake",
            f"a handshake message of {length} bytes, expected {KEY_BYTES} to {MESSAGE_BYTES_MAX}",
        )
    framed = buffer.take(LENGTH_BYTES + length)
    return None if framed is None else bytes(framed[LENGTH_BYTES:])
