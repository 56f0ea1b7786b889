"""The RPCs about push tokens."""

from datetime import datetime
from uuid import UUID

from ams.catalog.v1.events_pb2 import DOCKER, SERVICE_SUSPENDED, ServiceSnapshot
from ams.identity.v1.events_pb2 import STANDING_ACTIVE
from ams.registry.v1 import registry_service_pb2 as pb
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.database import Change, Database
from ams_common.errors import (
    FailedPreconditionError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from ams_common.ids import uuid7
from ams_common.interceptors import Context
from ams_common.paging import page_request

from registry_svc.auth import push_tokens
from registry_svc.auth.push_tokens import PushToken
from registry_svc.clients import Neighbours
from registry_svc.storage.store import Store


class PushTokenRpcs:
    """A merchant makes, reads and revokes its own push tokens."""

    def __init__(self, database: Database, store: Store, neighbours: Neighbours, host: str) -> None:
        self._database = database
        self._store = store
        self._neighbours = neighbours
        self._host = host

    async def CreatePushToken(
        self, request: pb.CreatePushTokenRequest, context: Context
    ) -> pb.CreatePushTokenResponse:
        # Asked before the transaction: no connection and no lock waits for another service.
        service = await self._neighbours.find_service(UUID(request.service_id))
        check_pushable(service, current_user_id())
        assert service is not None
        async with self._database.change() as change:
            if (done := await change.replay(request, pb.CreatePushTokenResponse)) is not None:
                return done
            secret, answer = await self._create(change, request, service, utc_now())
            # What is kept for a replay never holds the secret.
            await change.remember(request, answer)
        answer.secret = secret
        return answer

    async def ListPushTokens(
        self, request: pb.ListPushTokensRequest, context: Context
    ) -> pb.ListPushTokensResponse:
        async with self._database.read() as connection:
            page = await self._store.list_push_tokens(
                connection,
                page_request(request),
                current_user_id(),
                service_id=UUID(request.service_id) if request.service_id else None,
            )
        now = utc_now()
        return pb.ListPushTokensResponse(
            push_tokens=[push_tokens.push_token_message(token, now) for token in page.rows],
            next_page_token=page.next_token,
        )

    async def RevokePushToken(self, request: pb.RevokePushTokenRequest, context: Context) -> pb.PushToken:
        """Also for an expired one: taking access away is never refused."""
        async with self._database.change() as change:
            token = await self._store.lock_push_token(
                change.connection, UUID(request.push_token_id), current_user_id()
            )
            if token is None:
                raise NotFoundError("push_token_not_found", "There is no such push token.")
            push_tokens.require_unrevoked(token)
            await self._store.revoke_push_token(change.connection, token.push_token_id, utc_now())
            change.audit("push_token", token.push_token_id, token_prefix=token.token_prefix)
            revoked = await self._store.lock_push_token(
                change.connection, token.push_token_id, token.merchant_id
            )
            assert revoked is not None
        return push_tokens.push_token_message(revoked, utc_now())

    async def _create(
        self, change: Change, request: pb.CreatePushTokenRequest, service: ServiceSnapshot, now: datetime
    ) -> tuple[str, pb.CreatePushTokenResponse]:
        """The secret, and the answer without it."""
        merchant_id, service_id = current_user_id(), UUID(service.service_id)
        slug = await self._store.merchant_slug(change.connection, merchant_id)
        if slug is None:
            raise UnavailableError(
                "merchant_not_known_yet", "Your registration is still on its way. Try again shortly."
            )
        repository = await self._store.lock_repository(
            change.connection, service_id, merchant_id, f"{slug}/{service.slug}"
        )
        push_tokens.require_room(
            await self._store.count_active_push_tokens(change.connection, service_id, now)
        )
        new = push_tokens.generate()
        token = PushToken(
            push_token_id=uuid7(),
            token_prefix=new.prefix,
            service_id=service_id,
            merchant_id=merchant_id,
            name=request.name,
            repository=repository.name,
            created_at=now,
            expires_at=push_tokens.expiry(now, request.ttl_hours),
        )
        await self._store.add_push_token(change.connection, token, new.sha256)
        change.audit("push_token", token.push_token_id, token_prefix=new.prefix, repository=repository.name)
        return new.secret, self._answer(token, now)

    def _answer(self, token: PushToken, now: datetime) -> pb.CreatePushTokenResponse:
        image = f"{self._host}/{token.repository}:1.0.0"
        return pb.CreatePushTokenResponse(
            push_token=push_tokens.push_token_message(token, now),
            registry=self._host,
            commands=[
                f"docker login {self._host} --username push",
                f"docker tag <image> {image}",
                f"docker push {image}",
            ],
        )


def check_pushable(service: ServiceSnapshot | None, merchant_id: UUID) -> None:
    """Raises NotFoundError, FailedPreconditionError service_not_docker or service_suspended,
    PermissionDeniedError merchant_suspended."""
    if service is None or service.merchant_id != str(merchant_id):
        raise NotFoundError("service_not_found", "There is no such service.")
    if service.type != DOCKER:
        raise FailedPreconditionError("service_not_docker", "Only a Docker service takes images.")
    if service.status == SERVICE_SUSPENDED:
        raise FailedPreconditionError("service_suspended", "This service is suspended.")
    if service.merchant_standing > STANDING_ACTIVE:
        raise PermissionDeniedError("merchant_suspended", "Your account is suspended. Ask AMS support.")
