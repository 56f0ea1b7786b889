"""How a merchant knows a consumer: by a name that is stable and tells nothing (PRD-4.2)."""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from uuid import UUID

_PREFIX = "cst_"
_FORM = re.compile(r"cst_[a-z2-7]{16}")
_BYTES = 10  # 16 characters of base32


class Pseudonyms:
    """Makes pseudonyms with a secret key. Another key makes all other ones, so it is never changed."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def of(self, merchant_id: UUID, consumer_id: UUID) -> str:
        """The consumer's name for this merchant; another merchant sees another one."""
        # With the merchant's id in it: two merchants that compare their lists find nothing in common.
        message = f"{merchant_id}|{consumer_id}".encode()
        digest = hmac.digest(self._key, message, hashlib.sha256)
        return _PREFIX + base64.b32encode(digest[:_BYTES]).decode("ascii").lower()

    def find(self, wanted: Iterable[str], merchant_id: UUID, consumer_ids: Iterable[UUID]) -> list[UUID]:
        """Those of `consumer_ids` whose name for this merchant is among `wanted`."""
        # There is no way back from a pseudonym: each consumer's is made and compared.
        names = frozenset(wanted)
        return [consumer_id for consumer_id in consumer_ids if self.of(merchant_id, consumer_id) in names]


def is_pseudonym(text: str) -> bool:
    """Whether `text` has the form of a pseudonym, of whomever."""
    return _FORM.fullmatch(text) is not None
