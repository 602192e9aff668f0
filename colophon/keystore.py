"""Account keys on disk: one encrypted file each, recoverable from 24 words (docs/operating.md).

A file holds the 32-byte Ed25519 seed under ChaCha20-Poly1305 with a key from scrypt. The words
are the seed itself by BIP-39, so a paper copy is a full backup.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from mnemonic import Mnemonic

from chain.crypto import SigningKey
from chain.errors import Rejected
from chain.ids import address_of, format_id

from .disk import Disk

VERSION = 1
SCRYPT_N = 2**15
"""About 0.1 s and 32 MiB per try: slow for a thief, not for an owner."""
SCRYPT_R = 8
SCRYPT_P = 1
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What a key file says without its passphrase."""

    name: str
    address: str
    public_key: str


class Keystore:
    """The keys in one directory."""

    def __init__(self, directory: Path, disk: Disk | None = None) -> None:
        self._directory = directory
        self._disk = disk or Disk()

    def list(self) -> list[KeyInfo]:
        """Return the keys, by name."""
        paths = sorted(self._directory.glob("*.json"))
        return [self._info(path.stem, self._load(path.stem)) for path in paths]

    def show(self, name: str) -> KeyInfo:
        """Return one key; ``key/NotFound`` if there is none."""
        return self._info(name, self._load(name))

    def add(self, name: str, key: SigningKey, passphrase: str) -> KeyInfo:
        """Store a key under a new name, durably; nothing is ever overwritten."""
        if not NAME.fullmatch(name):
            raise Rejected(
                "key/BadName", f"{name!r} is no key name: a-z, 0-9, - and _, up to 32 characters"
            )
        salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
        cipher = ChaCha20Poly1305(_derive(passphrase, salt))
        form = {
            "version": VERSION,
            "address": format_id(address_of(key.public_key)),
            "public_key": "0x" + key.public_key.hex(),
            "kdf": {"name": "scrypt", "n": SCRYPT_N, "r": SCRYPT_R, "p": SCRYPT_P,
                    "salt": salt.hex()},
            "cipher": {"name": "chacha20-poly1305", "nonce": nonce.hex(),
                       "ciphertext": cipher.encrypt(nonce, key.seed, key.public_key).hex()},
        }  # fmt: skip
        self._disk.make_directory(self._directory, 0o700)
        try:
            self._disk.put_new(self._path(name), json.dumps(form, indent=2).encode() + b"\n")
        except FileExistsError:
            raise Rejected("key/Exists", f"there is a key named {name} already") from None
        return self._info(name, form)

    def unlock(self, name: str, passphrase: str) -> SigningKey:
        """Return the signing key; ``key/WrongPassphrase`` if the passphrase does not fit."""
        form = self._load(name)
        public_key = bytes.fromhex(form["public_key"].removeprefix("0x"))
        cipher = form["cipher"]
        try:
            seed = ChaCha20Poly1305(
                _derive(passphrase, bytes.fromhex(form["kdf"]["salt"]))
            ).decrypt(
                bytes.fromhex(cipher["nonce"]), bytes.fromhex(cipher["ciphertext"]), public_key
            )
        except InvalidTag:
            raise Rejected("key/WrongPassphrase", f"wrong passphrase for key {name}") from None
        return SigningKey(seed)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def _load(self, name: str) -> dict[str, Any]:
        if not NAME.fullmatch(name):
            raise Rejected("key/BadName", f"{name!r} is no key name")
        try:
            form: dict[str, Any] = json.loads(self._path(name).read_text(encoding="ascii"))
        except FileNotFoundError:
            raise Rejected(
                "key/NotFound", f"no key {name} in {self._directory}; `colophon key list` shows all"
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise Rejected("key/Damaged", f"{self._path(name)} is no key file") from None
        if form.get("version") != VERSION:
            raise Rejected("key/Version", f"key {name} has version {form.get('version')}")
        return form

    def _info(self, name: str, form: dict[str, Any]) -> KeyInfo:
        return KeyInfo(name, form["address"], form["public_key"])


def words_of(key: SigningKey) -> str:
    """Return the 24 words that are a key's seed (BIP-39, English)."""
    words: str = Mnemonic("english").to_mnemonic(key.seed)
    return words


def key_from_words(words: str) -> SigningKey:
    """Return the key that 24 words stand for; ``key/BadWords`` on a typing error."""
    try:
        seed = bytes(Mnemonic("english").to_entropy(" ".join(words.split())))
    except (ValueError, LookupError) as error:
        raise Rejected("key/BadWords", f"these are no 24 recovery words: {error}") from None
    if len(seed) != 32:
        raise Rejected("key/BadWords", "24 words are needed")
    return SigningKey(seed)


def _derive(passphrase: str, salt: bytes) -> bytes:
    kdf = Scrypt(salt=salt, length=32, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)
    return kdf.derive(passphrase.encode("utf-8"))
