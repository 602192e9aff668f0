"""Account keys on disk: one encrypted file each, recoverable from 24 words (docs/operating.md).

A file holds the 32-byte Ed25519 seed under ChaCha20-Poly1305 with a key from scrypt. The words
are the seed itself by BIP-39, so a paper copy is a full backup.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import msgspec
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


class _Versioned(msgspec.Struct, frozen=True):
    version: int


class _Kdf(msgspec.Struct, frozen=True):
    salt: str
    name: str = "scrypt"
    n: int = SCRYPT_N
    r: int = SCRYPT_R
    p: int = SCRYPT_P


class _Cipher(msgspec.Struct, frozen=True):
    nonce: str
    ciphertext: str
    name: str = "chacha20-poly1305"


class _File(msgspec.Struct, frozen=True):
    """A key file."""

    version: int
    address: str
    public_key: str
    kdf: _Kdf
    cipher: _Cipher


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
        form = _File(
            VERSION,
            format_id(address_of(key.public_key)),
            "0x" + key.public_key.hex(),
            _Kdf(salt.hex()),
            _Cipher(nonce.hex(), cipher.encrypt(nonce, key.seed, key.public_key).hex()),
        )
        text = msgspec.json.format(msgspec.json.encode(form))
        self._disk.make_directory(self._directory, 0o700)
        try:
            self._disk.put_new(self._path(name), text + b"\n")
        except FileExistsError:
            raise Rejected("key/Exists", f"there is a key named {name} already") from None
        return self._info(name, form)

    def unlock(self, name: str, passphrase: str) -> SigningKey:
        """Return the signing key; ``key/WrongPassphrase`` if the passphrase does not fit."""
        form = self._load(name)
        try:
            salt, nonce, ciphertext = (
                bytes.fromhex(text)
                for text in (form.kdf.salt, form.cipher.nonce, form.cipher.ciphertext)
            )
            cipher = ChaCha20Poly1305(_derive(passphrase, salt))
            key = SigningKey(cipher.decrypt(nonce, ciphertext, _public_key(form)))
        except InvalidTag:
            raise Rejected(
                "key/WrongPassphrase",
                f"wrong passphrase for key {name}; if it is the right one, the file is damaged, "
                "and the 24 words bring the key back under another name",
            ) from None
        except ValueError:
            raise self._damaged(name) from None
        return key

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def _load(self, name: str) -> _File:
        if not NAME.fullmatch(name):
            raise Rejected("key/BadName", f"{name!r} is no key name")
        try:
            raw = self._path(name).read_bytes()
            version = msgspec.json.decode(raw, type=_Versioned).version
            if version != VERSION:
                raise Rejected("key/Version", f"key {name} has version {version}")
            form = msgspec.json.decode(raw, type=_File)
            if form.address != format_id(address_of(_public_key(form))):
                raise self._damaged(name)
        except FileNotFoundError:
            raise Rejected(
                "key/NotFound", f"no key {name} in {self._directory}; `colophon key list` shows all"
            ) from None
        except ValueError:  # also what msgspec makes of another form
            raise self._damaged(name) from None
        return form

    def _damaged(self, name: str) -> Rejected:
        return Rejected(
            "key/Damaged",
            f"{self._path(name)} is no key file, or damaged: move it away, then bring the key back "
            "with `colophon key import` and its 24 words",
        )

    def _info(self, name: str, form: _File) -> KeyInfo:
        return KeyInfo(name, form.address, "0x" + _public_key(form).hex())


def _public_key(form: _File) -> bytes:
    return bytes.fromhex(form.public_key.removeprefix("0x"))


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
