"""The signing keys in memory: what signs tokens, and what this service verifies them with itself."""

import asyncio
import logging
from datetime import datetime

import asyncpg
import jwt
from ams_common.database import Change, Database
from ams_common.faults import PASSING_FAULTS
from ams_common.ids import uuid7
from ams_common.tokens import SigningKey, jwks_json
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from identity_svc.clocks import Clock
from identity_svc.signing import DatedKey, active_from, is_new_key_due, is_published, signing_key
from identity_svc.system_store import SystemStore
from identity_svc.vault import Vault

log = logging.getLogger(__name__)

_REFRESH_S = 30.0


class Keyring:
    """Call `refresh` once before anything else; `run` keeps it fresh and rotates the keys."""

    def __init__(self, database: Database, store: SystemStore, vault: Vault, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._vault = vault
        self._clock = clock
        self._keys: list[DatedKey] = []
        self._public: dict[str, jwt.PyJWK] = {}

    def current(self) -> SigningKey:
        """The key that signs now."""
        return signing_key(self._keys, self._clock())

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The public key with this id, or None."""
        return self._public.get(key_id)

    def jwks(self) -> str:
        """The RFC 7517 JWK Set."""
        return jwks_json(dated.key for dated in self._keys)

    async def run(self) -> None:
        """For ever; faults of the database are logged and what is known stays."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            try:
                await self.refresh()
            except (*PASSING_FAULTS, asyncpg.PostgresError) as error:
                log.warning("keyring waits", extra={"error": repr(error)})

    async def refresh(self) -> None:
        """Read the keys, and make or drop some where it's time.

        Raises VaultError when the encryption key doesn't open them.
        """
        now = self._clock()
        async with self._database.read() as connection:
            keys = await self._load(connection)
        if is_new_key_due(keys, now) or not all(is_published(keys, dated, now) for dated in keys):
            async with self._database.change_by_system("signing_key.rotate", audited=False) as change:
                keys = await self._rotate(change, now)
        self._keys = keys
        self._public = {dated.key.key_id: jwt.PyJWK.from_dict(dated.key.jwk()) for dated in keys}

    async def _rotate(self, change: Change, now: datetime) -> list[DatedKey]:
        """Of several processes one does it, and the others find it done, with nothing left to audit."""
        await self._store.lock_signing_keys(change.connection)
        keys = await self._load(change.connection)
        if is_new_key_due(keys, now):
            key_id = await self._create(change, active_from(keys, now), now)
            change.audit("signing_key", key_id, outcome="created")
        gone = [dated.key.key_id for dated in keys if not is_published(keys, dated, now)]
        await self._store.delete_signing_keys(change.connection, gone)
        for key_id in gone:
            change.audit("signing_key", key_id, outcome="deleted")
        return await self._load(change.connection)

    async def _create(self, change: Change, starts_at: datetime, now: datetime) -> str:
        key_id = uuid7().hex
        sealed = self._vault.seal(Ed25519PrivateKey.generate().private_bytes_raw())
        await self._store.insert_signing_key(change.connection, key_id, sealed, now, starts_at)
        return key_id

    async def _load(self, connection: asyncpg.Connection) -> list[DatedKey]:
        return [self._open(row) for row in await self._store.list_signing_keys(connection)]

    def _open(self, row: asyncpg.Record) -> DatedKey:
        private_key = Ed25519PrivateKey.from_private_bytes(self._vault.unseal(row["sealed_private_key"]))
        return DatedKey(SigningKey(row["key_id"], private_key), row["created_at"], row["active_from"])
