"""The signing keys in memory: what signs tokens, and what this service verifies them with itself."""

import jwt
from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.loops import run_forever
from ams_common.tokens import SigningKey, jwks_json
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from identity_svc.signing import DatedKey, active_from, is_new_key_due, is_published, signing_key
from identity_svc.store import Store
from identity_svc.vault import Vault

_REFRESH_S = 30.0


class Keyring:
    """Holds no key until `refresh` was called once; `run` keeps it fresh and rotates the keys."""

    def __init__(self, database: Database[Store], vault: Vault, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._keys: list[DatedKey] = []
        self._public: dict[str, jwt.PyJWK] = {}

    def current(self) -> SigningKey:
        return signing_key(self._keys, self._clock())

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        return self._public.get(key_id)

    def jwks(self) -> str:
        """The public keys as a JWK Set (RFC 7517)."""
        return jwks_json(dated.key for dated in self._keys)

    async def run(self) -> None:
        """For ever; faults of the database are logged, and what is known stays."""
        await run_forever("keyring", self.refresh, _REFRESH_S)

    async def refresh(self) -> None:
        """Reads the keys, and makes or deletes some where it's time.

        Raises SealingError when the encryption key doesn't open them.
        """
        now = self._clock()
        async with self._database.read() as store:
            keys = await self._load(store)
        if is_new_key_due(keys, now) or not all(is_published(keys, dated, now) for dated in keys):
            async with self._database.change_by_system("signing_key.rotate", audited=False) as change:
                # Of several processes one rotates; the others wait here, and find nothing left to do.
                await change.store.lock_signing_keys()
                keys = await self._load(change.store)
                if is_new_key_due(keys, now):
                    key_id = uuid7().hex
                    await change.store.insert_signing_key(
                        key_id=key_id,
                        sealed_private_key=self._vault.seal(Ed25519PrivateKey.generate().private_bytes_raw()),
                        now=now,
                        active_from=active_from(keys, now),
                    )
                    change.audit("signing_key", key_id, outcome="created")
                gone = [dated.key.key_id for dated in keys if not is_published(keys, dated, now)]
                await change.store.delete_signing_keys(key_ids=gone)
                for key_id in gone:
                    change.audit("signing_key", key_id, outcome="deleted")
                keys = await self._load(change.store)
        self._keys = keys
        self._public = {dated.key.key_id: jwt.PyJWK.from_dict(dated.key.jwk()) for dated in keys}

    async def _load(self, store: Store) -> list[DatedKey]:
        keys = []
        for row in await store.list_signing_keys():
            private_key = Ed25519PrivateKey.from_private_bytes(self._vault.unseal(row.sealed_private_key))
            keys.append(DatedKey(SigningKey(row.key_id, private_key), row.created_at, row.active_from))
        return keys
