"""Access tokens for tests: real ones, signed with a key that the tested server's verifier knows."""

from datetime import datetime
from uuid import UUID

import jwt
from ams.policy.v1.policy_pb2 import Role
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ams_common.clock import utc_now
from ams_common.ids import uuid7
from ams_common.tokens import SigningKey, sign_service_token, sign_user_token


class TestIssuer:
    """A signing key and the tokens it makes; also the KeySource of its verifier."""

    __test__ = False

    def __init__(self) -> None:
        self.key = SigningKey(uuid7().hex, Ed25519PrivateKey.generate())
        self._public = jwt.PyJWK.from_dict(self.key.jwk())

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The public key, under its own id only."""
        return self._public if key_id == self.key.key_id else None

    def user_token(
        self,
        user_id: UUID,
        *roles: Role.ValueType,
        now: datetime | None = None,
        credential: str = "",
        is_read_only: bool = False,
        generation: int = 0,
    ) -> str:
        """A person's access token, its first role active; of a session of its own unless told otherwise."""
        return sign_user_token(
            self.key,
            user_id,
            roles,
            next(iter(roles), Role.ROLE_UNSPECIFIED),
            now or utc_now(),
            credential=credential or f"session:{uuid7()}",
            is_read_only=is_read_only,
            generation=generation,
        )

    def service_token(self, service: str) -> str:
        """Returns an access token of one of our services."""
        return sign_service_token(self.key, service, utc_now())
