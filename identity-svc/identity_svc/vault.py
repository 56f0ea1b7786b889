"""What keeps secrets at rest: sealed values, keyed hashes of codes, hashes of tokens."""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from ams_common.sealing import Sealer

# A device's id, and until when its token is good (seconds since 1970).
_DEVICE_BODY_BYTES = 16 + 8
# For how long a browser that has signed in has an allowance of its own.
DEVICE_TTL = timedelta(days=365)


class Vault(Sealer):
    """A Sealer that knows one-time codes by the first of its keys, too."""

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(keys)
        self._allowance_key = hmac.digest(urlsafe_b64decode(keys[0]), b"identity allowances", "sha256")
        self._device_keys = [
            hmac.digest(urlsafe_b64decode(key), b"identity devices", "sha256") for key in keys
        ]
        # Six digits would be guessed from a plain hash in no time: this key isn't in the database.
        self._code_key = hmac.digest(urlsafe_b64decode(keys[0]), b"identity one-time codes", "sha256")

    def allowance_key(self, text: str) -> bytes:
        """The 32 bytes by which an allowance is known: nobody who reads them learns whose it is."""
        return hmac.digest(self._allowance_key, text.encode(), "sha256")

    def device_token(self, email: str, device_id: UUID, expires_at: datetime) -> str:
        """Proves later that a browser has signed in as `email` before."""
        body = device_id.bytes + int(expires_at.timestamp()).to_bytes(8)
        return urlsafe_b64encode(body + self._device_mac(self._device_keys[0], email, body)).decode()

    def device_of(self, email: str, tokens: Iterable[str], now: datetime) -> UUID | None:
        """The device that one of the tokens names, for this address; None when none does."""
        for token in tokens:
            try:
                raw = urlsafe_b64decode(token)
            except ValueError:
                continue
            body, mac = raw[:_DEVICE_BODY_BYTES], raw[_DEVICE_BODY_BYTES:]
            macs = [self._device_mac(key, email, body) for key in self._device_keys]
            if not any(hmac.compare_digest(mac, each) for each in macs):
                continue
            if int.from_bytes(body[16:]) > now.timestamp():
                return UUID(bytes=body[:16])
        return None

    def _device_mac(self, key: bytes, email: str, body: bytes) -> bytes:
        return hmac.digest(key, body + email.encode(), "sha256")

    def code_hash(self, challenge_id: UUID, code: str) -> bytes:
        """The 32 bytes by which a one-time code of this challenge is known, and of no other."""
        return hmac.digest(self._code_key, challenge_id.bytes + code.encode(), "sha256")


def token_hash(token: str) -> bytes:
    """The SHA-256 of a secret that is too long to guess, which needs no key and no salt."""
    return hashlib.sha256(token.encode()).digest()
