"""Who signs in with what, and what it opens: push tokens from our own tables, API keys from keys-svc,
the state of services from catalog-svc. Asked at each sign-in, again at every request, and now and then while
a layer is on its way: what is revoked ends within seconds, not only with its access token."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.keys.v1.events_pb2 import KeySnapshot
from ams_common import apikeys
from ams_common.clock import utc_now
from ams_common.context import current_client_address
from ams_common.database import Database
from cachetools import TTLCache

from registry_svc import names
from registry_svc.auth import push_tokens, rules
from registry_svc.auth.access_tokens import PULL, Access, Grant, Scope
from registry_svc.auth.errors import NotSignedInError, PullDeniedError, PushDeniedError
from registry_svc.auth.principals import PUSH_TOKEN, Principal, Publisher, Puller
from registry_svc.clients import PeerClients
from registry_svc.storage.rows import PushToken
from registry_svc.storage.store import Store

# How long a yes holds for layers, of which a pull has many: without it each would cost questions to two
# servers, and with a longer one a revoked key would go on for longer.
_CACHED_S = 2.0
_MAX_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class PullGrant:
    """A consumer who may pull, and the service that its pull is priced by."""

    puller: Puller
    service: ServiceSnapshot


class PullPushAuthorizer:
    """All methods raise NotSignedInError when the credential isn't good (any more), and AppError when a
    peer can't be asked. With `cached` a yes of two seconds ago will do."""

    def __init__(self, database: Database[Store], peers: PeerClients) -> None:
        self._database = database
        self._peers = peers
        # By access token's id and image name, and where it is used, for keys that are bound to networks.
        # A no is never kept: who is granted access a moment later isn't told the old answer.
        self._pushes: TTLCache[tuple[UUID, str], Publisher] = TTLCache(_MAX_CACHED, _CACHED_S)
        self._pulls: TTLCache[tuple[UUID, str, str], Publisher | PullGrant] = TTLCache(_MAX_CACHED, _CACHED_S)

    async def sign_in(self, password: str) -> Principal:
        """Finds out whose push token or API key it is."""
        if (token_hash := push_tokens.hash_token(password)) is not None:
            now = utc_now()
            async with self._database.read() as store:
                token = await store.find_push_token_by_hash(token_hash=token_hash)
            publisher = _publisher(token, now)
            async with self._database.change_by_system("push token used", audited=False) as change:
                await change.store.touch_push_token(push_token_id=publisher.token.push_token_id, used_at=now)
            return publisher
        if (key_hash := apikeys.hash_key(password)) is not None:
            return _puller(key_hash, await self._peers.find_key(key_hash))
        raise NotSignedInError("The password must be a push token or an API key of AMS.")

    async def grant(self, principal: Principal, scopes: Sequence[Scope]) -> list[Grant]:
        """Decides on each of `scopes`."""
        return [await self._grant_one(principal, scope) for scope in scopes]

    async def authenticate(self, access: Access) -> Principal:
        """Finds out whose access token it is: the credential behind it may have been revoked since."""
        kind, _, text = access.credential.partition(":")
        if kind == PUSH_TOKEN:
            async with self._database.read() as store:
                token = await store.find_push_token(push_token_id=UUID(text))
            return _publisher(token, utc_now())
        key_hash = bytes.fromhex(text)
        return _puller(key_hash, await self._peers.find_key(key_hash))

    async def authorize_push(self, access: Access, name: str, *, cached: bool = False) -> Publisher:
        """Returns who pushes, still in good standing. Raises PushDeniedError."""
        if cached and (known := self._pushes.get((access.token_id, name))) is not None:
            return known
        principal = await self.authenticate(access)
        if isinstance(principal, Puller):
            raise PushDeniedError(rules.KEY_CANNOT_PUSH)
        if (denial := await self._push_denial(principal, name)) is not None:
            raise PushDeniedError(denial)
        self._pushes[access.token_id, name] = principal
        return principal

    async def authorize_pull(
        self, access: Access, name: str, *, cached: bool = False
    ) -> Publisher | PullGrant:
        """Returns who pulls, still in good standing: a merchant its own images, or a consumer. Raises
        PullDeniedError."""
        use = access.token_id, name, current_client_address()
        if cached and (known := self._pulls.get(use)) is not None:
            return known
        principal = await self.authenticate(access)
        granted: Publisher | PullGrant
        if isinstance(principal, Puller):
            granted = PullGrant(principal, await self._service_to_pull(principal, name))
        elif (denial := await self._push_denial(principal, name)) is not None:
            raise PullDeniedError(denial, principal)
        else:
            granted = principal
        self._pulls[use] = granted
        return granted

    async def _grant_one(self, principal: Principal, scope: Scope) -> Grant:
        if isinstance(principal, Publisher):
            denial = await self._push_denial(principal, scope.name)
            return Grant(scope.name, frozenset() if denial else scope.actions, denial or "")
        try:
            await self._service_to_pull(principal, scope.name)
        except PullDeniedError as denied:
            return Grant(scope.name, frozenset(), denied.message)
        if scope.actions - {PULL}:
            return Grant(scope.name, scope.actions & {PULL}, rules.KEY_CANNOT_PUSH)
        return Grant(scope.name, scope.actions)

    async def _push_denial(self, publisher: Publisher, name: str) -> str | None:
        service = await self._peers.find_service(publisher.token.service_id)
        return rules.push_denial(publisher.token, name, service)

    async def _service_to_pull(self, puller: Puller, name: str) -> ServiceSnapshot:
        """Returns the service whose image it is. Raises PullDeniedError when the consumer may not pull it."""
        async with self._database.read() as store:
            repository = await store.find_repository(name=names.repository_of(name))
        if repository is None:
            raise PullDeniedError(rules.no_access(name), puller)
        service = await self._peers.find_service(repository.service_id)
        if (denial := rules.pull_denial(puller.key, name, repository.service_id, service)) is not None:
            raise PullDeniedError(denial, puller)
        assert service is not None, "without a service nothing is pulled"
        return service


def _publisher(token: PushToken | None, now: datetime) -> Publisher:
    if token is None:
        raise NotSignedInError("There is no such push token.")
    if (denial := rules.token_denial(token, now)) is not None:
        raise NotSignedInError(denial)
    return Publisher(token)


def _puller(key_hash: bytes, key: KeySnapshot | None) -> Puller:
    if key is None:
        raise NotSignedInError("There is no such API key.")
    if (denial := rules.key_denial(key, current_client_address(), utc_now())) is not None:
        raise NotSignedInError(denial)
    return Puller(key_hash, key)
