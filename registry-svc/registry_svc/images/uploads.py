"""Uploads under way: our rows, and what the provider has of them."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from ams_common.clock import utc_now
from ams_common.database import Database

from registry_svc.providers.provider import ImageRegistryProvider, RefusedByProviderError
from registry_svc.storage.rows import Upload
from registry_svc.storage.store import Store

_LIFE = timedelta(days=7)


class Uploads:
    """An upload that the provider won't go on with is gone here too: its client begins anew. All methods
    raise ProviderError."""

    def __init__(self, database: Database[Store], provider: ImageRegistryProvider) -> None:
        self._database = database
        self._provider = provider
        # What requests of this very process are adding to.
        self._growing: Counter[UUID] = Counter()

    async def add(self, upload: Upload, push_token_id: UUID) -> None:
        """Keeps a new one; with it those end that nobody has touched for days."""
        async with self._database.change_by_system("upload", audited=False) as change:
            now = utc_now()
            await change.store.purge_uploads(before=now - _LIFE)
            await change.store.add_upload(
                upload_id=upload.upload_id,
                name=upload.name,
                push_token_id=push_token_id,
                session=upload.session,
                changed_at=now,
            )

    async def find(self, upload_id: UUID, name: str, push_token_id: UUID) -> Upload | None:
        """Finds the upload if this push token began it; as the provider has it, where a request that added
        to it was killed."""
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
            await self._end(upload)
            return None
        session, size_bytes = found
        # The provider can't tell one byte from none ("Range: 0-0"): the row knows whether there was any.
        size_bytes = size_bytes or min(upload.size_bytes, 1)
        return await self._settle(replace(upload, session=session, size_bytes=size_bytes, is_open=False))

    async def append(self, upload: Upload, body: AsyncIterator[bytes]) -> Upload | None:
        """Adds the body as far as it comes, and returns the upload as it is then; None when another request
        adds to it.

        Raises RefusedByProviderError, and then it is no upload any more."""
        size_bytes = upload.size_bytes

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size_bytes
            async for chunk in body:
                size_bytes += len(chunk)
                yield chunk

        # Before the row says that it is open: else `find` would take this request for a killed one.
        self._growing[upload.upload_id] += 1
        try:
            async with self._database.change_by_system("upload", audited=False) as change:
                is_ours = await change.store.open_upload(
                    upload_id=upload.upload_id, session=upload.session, changed_at=utc_now()
                )
            if not is_ours:
                return None
            session = await self._provider.append(upload.name, upload.session, counted())
            return await self._settle(replace(upload, session=session, size_bytes=size_bytes, is_open=False))
        except RefusedByProviderError:
            await self._end(upload)
            raise
        finally:
            self._growing[upload.upload_id] -= 1
            if not self._growing[upload.upload_id]:
                del self._growing[upload.upload_id]

    async def finish(self, upload: Upload, digest: str) -> None:
        """Makes the upload a layer. Raises RefusedByProviderError, and then it is no upload any more
        either."""
        try:
            await self._provider.finish_upload(upload.name, upload.session, digest)
        except RefusedByProviderError:
            await self._end(upload)
            raise
        await self._end(upload)

    async def cancel(self, upload: Upload) -> None:
        await self._provider.cancel_upload(upload.name, upload.session)
        await self._end(upload)

    async def _read(self, upload_id: UUID, name: str, push_token_id: UUID) -> Upload | None:
        async with self._database.read() as store:
            return await store.find_upload(upload_id=upload_id, name=name, push_token_id=push_token_id)

    async def _settle(self, upload: Upload) -> Upload:
        async with self._database.change_by_system("upload", audited=False) as change:
            await change.store.move_upload(
                upload_id=upload.upload_id,
                session=upload.session,
                size_bytes=upload.size_bytes,
                is_open=upload.is_open,
                changed_at=utc_now(),
            )
        return upload

    async def _end(self, upload: Upload) -> None:
        async with self._database.change_by_system("upload", audited=False) as change:
            await change.store.end_upload(upload_id=upload.upload_id)
