"""The RPCs about tokens of services, and about the keys by which everybody verifies tokens."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.clock import Clock, to_timestamp
from ams_common.errors import UnauthenticatedError
from ams_common.interceptors import Context
from ams_common.tokens import ACCESS_TOKEN_TTL, sign_service_token

from identity_svc.keyring import Keyring
from identity_svc.vault import token_hash


@dataclass(kw_only=True, eq=False, repr=False)
class TokenRpcs:
    """`service_secrets`: what each of our services proves itself with, by its name."""

    keyring: Keyring
    service_secrets: Mapping[str, str]
    clock: Clock

    async def GetJwks(self, request: pb.GetJwksRequest, context: Context) -> pb.GetJwksResponse:
        return pb.GetJwksResponse(jwks_json=self.keyring.jwks())

    async def IssueServiceToken(
        self, request: pb.IssueServiceTokenRequest, context: Context
    ) -> pb.IssueServiceTokenResponse:
        expected = self.service_secrets.get(request.service)
        # Compared for a service that there isn't, too, and by hashes: how long it takes tells nothing.
        is_equal = hmac.compare_digest(token_hash(expected or ""), token_hash(request.secret))
        if expected is None or not is_equal:
            raise UnauthenticatedError("service_secret_invalid", "This is not that service's secret.")
        now = self.clock()
        return pb.IssueServiceTokenResponse(
            access_token=sign_service_token(self.keyring.current(), request.service, now),
            expires_at=to_timestamp(now + ACCESS_TOKEN_TTL),
        )
