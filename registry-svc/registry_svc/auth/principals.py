"""Who has signed in: a merchant who pushes, or a consumer who pulls."""

from dataclasses import dataclass
from uuid import UUID

from ams.keys.v1.events_pb2 import KeySnapshot

from registry_svc.storage.rows import PushToken

PUSH_TOKEN, API_KEY = "push", "key"


@dataclass(frozen=True, slots=True)
class Publisher:
    """A merchant, by a good push token."""

    token: PushToken

    @property
    def credential(self) -> str:
        """ "push:<push token id>", as access tokens have it."""
        return f"{PUSH_TOKEN}:{self.token.push_token_id}"

    @property
    def user_id(self) -> UUID:
        return self.token.merchant_id

    @property
    def audit_details(self) -> dict[str, str]:
        """What tells in the audit log which credential it was, should it have leaked."""
        return {"push_token_id": str(self.token.push_token_id), "token_prefix": self.token.token_prefix}


@dataclass(frozen=True, slots=True)
class Puller:
    """A consumer, by a good API key."""

    key_hash: bytes
    key: KeySnapshot

    @property
    def credential(self) -> str:
        """ "key:<SHA-256 of the API key in hex>", as access tokens have it."""
        return f"{API_KEY}:{self.key_hash.hex()}"

    @property
    def user_id(self) -> UUID:
        return UUID(self.key.consumer_id)

    @property
    def audit_details(self) -> dict[str, str]:
        """What tells in the audit log which credential it was, should it have leaked."""
        return {"key_id": self.key.key_id, "key_prefix": self.key.key_prefix}


Principal = Publisher | Puller
