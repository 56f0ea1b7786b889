"""The secrets by which our other services prove themselves."""

import hmac
import secrets
from collections.abc import Mapping

from identity_svc.vault import token_hash


class ServiceSecrets:
    """`secrets_by_service`: "keys-svc" → its secret."""

    def __init__(self, secrets_by_service: Mapping[str, str]) -> None:
        self._hashes = {name: token_hash(secret) for name, secret in secrets_by_service.items()}
        self._nobody = secrets.token_bytes(32)

    def prove(self, service: str, secret: str) -> bool:
        """Whether it is this service's secret; takes the same time whatever is wrong."""
        return hmac.compare_digest(self._hashes.get(service, self._nobody), token_hash(secret))
