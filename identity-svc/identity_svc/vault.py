"""What keeps secrets at rest: sealed values, keyed hashes of codes, hashes of tokens."""

import hashlib
import hmac
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from uuid import UUID

from ams_common.sealing import Sealer


class Vault(Sealer):
    """A Sealer that knows one-time codes by the first of its keys, too."""

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(keys)
        # Six digits would be guessed from a plain hash in no time: this key isn't in the database.
        self._code_key = hmac.digest(urlsafe_b64decode(keys[0]), b"identity one-time codes", "sha256")

    def code_hash(self, challenge_id: UUID, code: str) -> bytes:
        """The 32 bytes by which a one-time code of this challenge is known, and of no other."""
        return hmac.digest(self._code_key, challenge_id.bytes + code.encode(), "sha256")


def token_hash(token: str) -> bytes:
    """The SHA-256 of a secret that is too long to guess, which needs no key and no salt."""
    return hashlib.sha256(token.encode()).digest()
