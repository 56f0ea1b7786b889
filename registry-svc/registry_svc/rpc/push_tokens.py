"""The RPCs about push tokens: a merchant makes, reads and revokes its own."""

from dataclasses import dataclass, replace
from uuid import UUID

from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.registry.v1 import registry_service_pb2 as pb
from ams_common.access import ServiceProblem, push_problem
from ams_common.clock import utc_now
from ams_common.context import current_user_id
from ams_common.database import Database
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
from registry_svc.clients import PeerClients
from registry_svc.messages import push_token_message
from registry_svc.storage.rows import PushToken
from registry_svc.storage.store import Store


@dataclass(kw_only=True, eq=False)
class PushTokenRpcs:
    database: Database[Store]
    peers: PeerClients
    host: str

    async def CreatePushToken(
        self, request: pb.CreatePushTokenRequest, context: Context
    ) -> pb.CreatePushTokenResponse:
        merchant_id = current_user_id()
        # Asked before the transaction: no connection and no lock waits for another service.
        service = require_pushable(await self.peers.find_service(UUID(request.service_id)), merchant_id)
        service_id = UUID(service.service_id)
        async with self.database.change() as change:
            if (done := await change.replay(request, pb.CreatePushTokenResponse)) is not None:
                return done
            now = utc_now()
            slug = await change.store.merchant_slug(merchant_id=merchant_id)
            if slug is None:
                raise UnavailableError(
                    "merchant_not_known_yet", "Your registration is still on its way. Try again shortly."
                )
            repository = await change.store.lock_repository(service_id, merchant_id, f"{slug}/{service.slug}")
            active = await change.store.count_active_push_tokens(service_id=service_id, now=now)
            push_tokens.require_below_limit(active)
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
            await change.store.add_push_token(token, new.sha256)
            change.audit(
                "push_token", token.push_token_id, token_prefix=new.prefix, repository=repository.name
            )
            image = f"{self.host}/{token.repository}:1.0.0"
            answer = pb.CreatePushTokenResponse(
                push_token=push_token_message(token, now),
                registry=self.host,
                commands=[
                    f"docker login {self.host} --username push",
                    f"docker tag <image> {image}",
                    f"docker push {image}",
                ],
            )
            # Before the secret is added: what is kept for a replay never holds it.
            await change.remember(request, answer)
        answer.secret = new.secret
        return answer

    async def ListPushTokens(
        self, request: pb.ListPushTokensRequest, context: Context
    ) -> pb.ListPushTokensResponse:
        async with self.database.read() as store:
            page = await store.list_push_tokens(
                page_request(request),
                merchant_id=current_user_id(),
                service_id=UUID(request.service_id) if request.service_id else None,
            )
        now = utc_now()
        return pb.ListPushTokensResponse(
            push_tokens=[push_token_message(token, now) for token in page.rows],
            next_page_token=page.next_token,
        )

    async def RevokePushToken(self, request: pb.RevokePushTokenRequest, context: Context) -> pb.PushToken:
        """Also for an expired one: taking access away is never refused."""
        push_token_id, merchant_id = UUID(request.push_token_id), current_user_id()
        async with self.database.change() as change:
            token = await change.store.lock_push_token(push_token_id=push_token_id, merchant_id=merchant_id)
            if token is None:
                raise NotFoundError("push_token_not_found", "There is no such push token.")
            push_tokens.require_unrevoked(token)
            now = utc_now()
            await change.store.revoke_push_token(push_token_id=push_token_id, revoked_at=now)
            change.audit("push_token", push_token_id, token_prefix=token.token_prefix)
        return push_token_message(replace(token, revoked_at=now), now)


def require_pushable(service: ServiceSnapshot | None, merchant_id: UUID) -> ServiceSnapshot:
    """The merchant's own service, which takes images. Raises NotFoundError, FailedPreconditionError
    service_not_docker, service_suspended or service_retired, PermissionDeniedError merchant_suspended."""
    if service is None or service.merchant_id != str(merchant_id):
        raise NotFoundError("service_not_found", "There is no such service.")
    match push_problem(service.type, service.status, service.merchant_standing):
        case None:
            return service
        case ServiceProblem.NOT_DOCKER:
            raise FailedPreconditionError("service_not_docker", "Only a Docker service takes images.")
        case ServiceProblem.SUSPENDED:
            raise FailedPreconditionError("service_suspended", "This service is suspended.")
        case ServiceProblem.RETIRED:
            raise FailedPreconditionError("service_retired", "This service is retired.")
        case _:
            raise PermissionDeniedError("merchant_suspended", "Your account is suspended. Ask AMS support.")
