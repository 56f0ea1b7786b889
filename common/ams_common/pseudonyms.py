"""How a merchant knows consumers and their keys: by names that are stable and tell nothing (PRD-4.2)."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from uuid import UUID

from ams_common.settings import setting, strong_secret

_CONSUMER = re.compile(r"cst_[a-z2-7]{16}")
_KEY = re.compile(r"key_[a-z2-7]{16}")
_BYTES = 10  # 16 characters of base32


def pseudonym_key_setting() -> str:
    """The field of the settings of whoever names consumers: PSEUDONYM_KEY, the same for all of them."""
    field: str = setting(
        name="PSEUDONYM_KEY", development="development-pseudonym-key", secret=True, production=strong_secret
    )
    return field


class Pseudonyms:
    """Makes pseudonyms with a secret key. Another key makes all other ones, so it is never changed."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def of_consumer(self, merchant_id: UUID, consumer_id: UUID) -> str:
        """The consumer's name for this merchant; another merchant sees another one."""
        return "cst_" + self._digest(f"{merchant_id}|{consumer_id}")

    def of_key(self, merchant_id: UUID, api_key_id: UUID) -> str:
        """The API key's name for this merchant. Its first characters are the same for all merchants and would
        tell two of them that they have a consumer in common."""
        return "key_" + self._digest(f"key|{merchant_id}|{api_key_id}")

    def find_consumers(
        self, wanted: Iterable[str], merchant_id: UUID, consumer_ids: Iterable[UUID]
    ) -> list[UUID]:
        """Those of `consumer_ids` whose name for this merchant is among `wanted`."""
        # There is no way back from a pseudonym: each consumer's is made and compared.
        names = frozenset(wanted)
        return [each for each in consumer_ids if self.of_consumer(merchant_id, each) in names]

    def find_keys(self, wanted: Iterable[str], merchant_id: UUID, key_ids: Iterable[UUID]) -> list[UUID]:
        """Those of `key_ids` whose name for this merchant is among `wanted`."""
        names = frozenset(wanted)
        return [each for each in key_ids if self.of_key(merchant_id, each) in names]

    def _digest(self, message: str) -> str:
        # With the merchant's id in it: two merchants that compare their lists find nothing in common.
        digest = hmac.digest(self._key, message.encode(), hashlib.sha256)
        return base64.b32encode(digest[:_BYTES]).decode("ascii").lower()


def is_pseudonym(text: str) -> bool:
    """Whether `text` has the form of a consumer's pseudonym, of whomever."""
    return _CONSUMER.fullmatch(text) is not None


def is_key_pseudonym(text: str) -> bool:
    """Whether `text` has the form of an API key's pseudonym, of whomever."""
    return _KEY.fullmatch(text) is not None
