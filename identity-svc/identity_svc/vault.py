"""What keeps secrets at rest: sealed values, keyed hashes of codes, hashes of tokens."""

import hashlib
import hmac
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class VaultError(Exception):
    """None of the encryption keys opens what was sealed."""


class Vault:
    """Seals with the first of `keys` (Fernet: 32 bytes in url-safe base64), opens with any of them.

    Raises ValueError when there is no key or one is malformed.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        # Six digits would be guessed from a plain hash in no time: this key isn't in the database.
        self._code_key = hmac.digest(urlsafe_b64decode(keys[0]), b"identity one-time codes", "sha256")

    def seal(self, value: bytes) -> bytes:
        return self._fernet.encrypt(value)

    def unseal(self, sealed: bytes) -> bytes:
        """What was sealed. Raises VaultError when it was sealed with a key that isn't known any more."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise VaultError("sealed with another encryption key") from None

    def code_hash(self, challenge_id: UUID, code: str) -> bytes:
        """The 32 bytes by which a one-time code of this challenge is known, and of no other."""
        return hmac.digest(self._code_key, challenge_id.bytes + code.encode(), "sha256")


def token_hash(token: str) -> bytes:
    """The SHA-256 of a secret that is too long to guess, which needs no key and no salt."""
    return hashlib.sha256(token.encode()).digest()
