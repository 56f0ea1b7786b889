"""Secrets at rest: sealed with keys that aren't stored beside them."""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

# Of UPSTREAM_SEALING_KEY, which catalog-svc and the gateway share. Everybody can read it, so production
# refuses it.
DEVELOPMENT_SEALING_KEYS = ("YW1zLWRldmVsb3BtZW50LXNlYWxpbmcta2V5LTAwMDE=",)


class SealingError(Exception):
    """None of the keys opens what was sealed."""


class Sealer:
    """Seals with the first of `keys` (Fernet: 32 bytes in url-safe base64), unseals with any of them.

    So a key is replaced by putting the new one first, and dropping the old one when nothing is left that it
    sealed. Raises ValueError when there is no key or one is malformed.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, value: bytes) -> bytes:
        return self._fernet.encrypt(value)

    def unseal(self, sealed: bytes) -> bytes:
        """What was sealed. Raises SealingError when it was changed, or sealed with a key that isn't known."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise SealingError("sealed with another key, or changed since") from None
