"""Uploads under way: our rows, and what the provider has of them."""

from collections import Counter
from datetime import timedelta
from uuid import UUID

from ams_common.clock import utc_now
from ams_common.database import Database

from registry_svc.oci.streams import Body
from registry_svc.providers.provider import ImageRegistryProvider, RefusedByProviderError
from registry_svc.storage.store import Store
from registry_svc.storage.uploads import Upload

_LIFE = timedelta(days=7)


class Uploads:
    """An upload that the provider won't go on with is gone here too: its client begins anew."""

    def __init__(self, database: Database, store: Store, provider: ImageRegistryProvider) -> None:
        self._database = database
        self._store = store
        self._provider = provider
        # What requests of this very process are adding to.
        self._growing: Counter[UUID] = Counter()

    async def add(self, upload: Upload, name: str, push_token_id: UUID) -> None:
        """A new one; with it those end that nobody has touched for days."""
        async with self._database.change_by_system("upload", audited=False) as change:
            now = utc_now()
            await self._store.forget_uploads(change.connection, now - _LIFE)
            await self._store.add_upload(
                change.connection,
                upload.upload_id,
                name=name,
                push_token_id=push_token_id,
                session=upload.session,
                changed_at=now,
            )

    async def find(self, upload_id: UUID, name: str, push_token_id: UUID) -> Upload | None:
        """As the provider has it, where a request that added to it was killed."""
        upload = await self._read(upload_id, name, push_token_id)
        if upload is None or not upload.is_open or upload_id in self._growing:
            return upload
        found = await self._provider.find_upload(name, upload.session)
        # A request that added to it may have ended since the row was read: what the provider says of the
        # session before is no news then.
        now = await self._read(upload_id, name, push_token_id)
        if now != upload or upload_id in self._growing:
            return now
        if found is None:
            await self._forget(upload)
            return None
        session, size_bytes = found
        # One byte reads as none: then it is what we knew.
        settled = Upload(upload_id, session, size_bytes or min(upload.size_bytes, 1))
        await self._move(settled)
        return settled

    async def _read(self, upload_id: UUID, name: str, push_token_id: UUID) -> Upload | None:
        async with self._database.read() as connection:
            return await self._store.find_upload(connection, upload_id, name, push_token_id)

    async def append(self, name: str, upload: Upload, body: Body) -> Upload | None:
        """The upload with the body at its end, as far as it came; None when another request adds to it."""
        # Before the row says that it is open: nobody here then takes the request for a broken one.
        self._growing[upload.upload_id] += 1
        try:
            async with self._database.change_by_system("upload", audited=False) as change:
                if not await self._store.open_upload(change.connection, upload, utc_now()):
                    return None
            session = await self._provider.append(name, upload.session, body.chunks())
            grown = Upload(upload.upload_id, session, upload.size_bytes + body.size_bytes)
            await self._move(grown)
        except RefusedByProviderError:
            await self._forget(upload)
            raise
        finally:
            self._growing[upload.upload_id] -= 1
            if not self._growing[upload.upload_id]:
                del self._growing[upload.upload_id]
        return grown

    async def finish(self, name: str, upload: Upload, digest: str) -> None:
        """The upload is a layer. Raises RefusedByProviderError, and then it is no upload any more either."""
        try:
            await self._provider.finish_upload(name, upload.session, digest)
        except RefusedByProviderError:
            await self._forget(upload)
            raise
        await self._forget(upload)

    async def cancel(self, name: str, upload: Upload) -> None:
        await self._provider.cancel_upload(name, upload.session)
        await self._forget(upload)

    async def _move(self, upload: Upload) -> None:
        async with self._database.change_by_system("upload", audited=False) as change:
            await self._store.move_upload(change.connection, upload, utc_now())

    async def _forget(self, upload: Upload) -> None:
        async with self._database.change_by_system("upload", audited=False) as change:
            await self._store.end_upload(change.connection, upload.upload_id)
