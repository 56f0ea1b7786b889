"""Who signs in with what, and what it opens: push tokens from our own tables, API keys from keys-svc,
the state of services from catalog-svc. Asked at each sign-in, again at every request, and now and then while
a layer is on its way: what is revoked ends within seconds, not only with its access token."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common import apikeys
from ams_common.clock import utc_now
from ams_common.database import Database

from registry_svc import names
from registry_svc.auth import push_tokens
from registry_svc.auth import rules as access
from registry_svc.auth.access_tokens import PULL, PUSH, Access, Grant, Scope
from registry_svc.auth.push_tokens import PushToken
from registry_svc.clients import Neighbours
from registry_svc.oci.errors import OciError
from registry_svc.storage.store import Repository, Store

_PUSH, _KEY = "push:", "key:"
# How long a yes holds for layers, of which a pull has many.
_RECENT_S = 2.0
_MAX_RECENT = 10_000


@dataclass(frozen=True, slots=True)
class Publisher:
    """A merchant, by a good push token."""

    token: PushToken

    @property
    def credential(self) -> str:
        return f"{_PUSH}{self.token.push_token_id}"


@dataclass(frozen=True, slots=True)
class Puller:
    """A consumer, by a good API key."""

    key_hash: bytes
    key: KeySnapshot

    @property
    def credential(self) -> str:
        return f"{_KEY}{self.key_hash.hex()}"


Principal = Publisher | Puller


class Gatekeeper:
    """All methods raise OciError, and AppError when a neighbour can't be asked."""

    def __init__(self, database: Database, store: Store, neighbours: Neighbours) -> None:
        self._database = database
        self._store = store
        self._neighbours = neighbours
        # By access token, image name and action: who was let in, and until when that holds.
        self._recent: dict[tuple[UUID, str, str], tuple[Principal, float]] = {}

    async def sign_in(self, password: str) -> Principal:
        """Whose push token or API key it is. Raises OciError UNAUTHORIZED with the reason."""
        if (token_hash := push_tokens.hash_token(password)) is not None:
            return await self._publisher(token_hash)
        if (key_hash := apikeys.hash_key(password)) is not None:
            return self._good(key_hash, await self._neighbours.find_key(key_hash))
        raise OciError("UNAUTHORIZED", "The password must be a push token or an API key of AMS.")

    async def decide(self, principal: Principal, scopes: Sequence[Scope]) -> list[Grant]:
        """What of `scopes` is granted."""
        return [await self._decide_one(principal, scope) for scope in scopes]

    async def still_pushes(self, granted: Access, name: str) -> Principal:
        """As push_again; a yes of two seconds ago will do."""
        return await self._recently(granted, name, PUSH, self.push_again)

    async def still_pulls(self, granted: Access, name: str) -> Principal:
        """As pull_again; a yes of two seconds ago will do."""

        async def pull_again(granted: Access, name: str) -> Principal:
            who = await self.pull_again(granted, name)
            return who if isinstance(who, Publisher) else who[0]

        return await self._recently(granted, name, PULL, pull_again)

    async def recognise(self, granted: Access) -> Principal:
        """Whose access token it is. Raises OciError UNAUTHORIZED when the credential isn't good any more."""
        kind, _, text = granted.credential.partition(":")
        if f"{kind}:" == _PUSH:
            async with self._database.read() as connection:
                token = await self._store.find_push_token(connection, UUID(text))
            return _good_publisher(token, utc_now())
        key_hash = bytes.fromhex(text)
        return self._good(key_hash, await self._neighbours.find_key(key_hash))

    async def push_again(self, granted: Access, name: str) -> Publisher:
        """Who pushes, still in good standing."""
        principal = await self.recognise(granted)
        if not isinstance(principal, Publisher):
            raise OciError("DENIED", "An API key can't push: sign in with a push token.")
        service = await self._neighbours.find_service(principal.token.service_id)
        _require(access.push_refusal(principal.token, name, service))
        return principal

    async def pull_again(self, granted: Access, name: str) -> "tuple[Puller, ServiceSnapshot] | Publisher":
        """Who pulls, still in good standing; a consumer with what its pull is priced by."""
        principal = await self.recognise(granted)
        if isinstance(principal, Publisher):
            service = await self._neighbours.find_service(principal.token.service_id)
            _require(access.push_refusal(principal.token, name, service))
            return principal
        repository = await self._repository(name)
        if repository is None:
            raise OciError("DENIED", access.no_access(name))
        service = await self._neighbours.find_service(repository.service_id)
        _require(access.pull_refusal(principal.key, name, repository.service_id, service))
        assert service is not None, "pull_refusal refuses none"
        return principal, service

    async def _recently(
        self, granted: Access, name: str, action: str, ask: Callable[[Access, str], Awaitable[Principal]]
    ) -> Principal:
        found, until_s = self._recent.get((granted.token_id, name, action), (None, 0.0))
        if found is not None and time.monotonic() < until_s:
            return found
        who = await ask(granted, name)
        if len(self._recent) >= _MAX_RECENT:
            self._recent.clear()
        self._recent[granted.token_id, name, action] = (who, time.monotonic() + _RECENT_S)
        return who

    async def _publisher(self, token_hash: bytes) -> Publisher:
        now = utc_now()
        async with self._database.read() as connection:
            token = await self._store.find_push_token_by_hash(connection, token_hash)
        publisher = _good_publisher(token, now)
        async with self._database.change_by_system("push token used", audited=False) as change:
            await self._store.touch_push_token(change.connection, publisher.token.push_token_id, now)
        return publisher

    def _good(self, key_hash: bytes, key: KeySnapshot | None) -> Puller:
        if key is None:
            raise OciError("UNAUTHORIZED", "There is no such API key.")
        if (refusal := access.key_refusal(key, utc_now())) is not None:
            raise OciError("UNAUTHORIZED", refusal)
        return Puller(key_hash, key)

    async def _decide_one(self, principal: Principal, scope: Scope) -> Grant:
        if isinstance(principal, Publisher):
            service = await self._neighbours.find_service(principal.token.service_id)
            refusal = access.push_refusal(principal.token, scope.name, service)
            return Grant(scope.name, frozenset() if refusal else scope.actions, refusal or "")
        repository = await self._repository(scope.name)
        if repository is None:
            return Grant(scope.name, frozenset(), access.no_access(scope.name))
        service = await self._neighbours.find_service(repository.service_id)
        refusal = access.pull_refusal(principal.key, scope.name, repository.service_id, service)
        if refusal is None and scope.actions - {PULL}:
            refusal = "An API key can't push: sign in with a push token."
            return Grant(scope.name, scope.actions & {PULL}, refusal)
        return Grant(scope.name, frozenset() if refusal else scope.actions, refusal or "")

    async def _repository(self, name: str) -> Repository | None:
        async with self._database.read() as connection:
            return await self._store.find_repository(connection, names.repository_of(name))


def _good_publisher(token: PushToken | None, now: datetime) -> Publisher:
    if token is None:
        raise OciError("UNAUTHORIZED", "There is no such push token.")
    if (refusal := access.token_refusal(token, now)) is not None:
        raise OciError("UNAUTHORIZED", refusal)
    return Publisher(token)


def _require(refusal: str | None) -> None:
    if refusal is not None:
        raise OciError("DENIED", refusal)
