"""The part of the store that keeps uploads under way."""

from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from ams_common.queries import Queries


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload under way: how to go on with the provider, and how much is there."""

    upload_id: UUID
    session: str
    size_bytes: int
    is_open: bool = False  # a request adds to it, or broke while it did


class UploadStore:
    """Every method works within the transaction of the connection that it is given."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def add_upload(
        self,
        connection: asyncpg.Connection,
        upload_id: UUID,
        *,
        name: str,
        push_token_id: UUID,
        session: str,
        changed_at: datetime,
    ) -> None:
        await self._queries.run(
            connection,
            "add_upload",
            upload_id=upload_id,
            name=name,
            push_token_id=push_token_id,
            session=session,
            changed_at=changed_at,
        )

    async def find_upload(
        self, connection: asyncpg.Connection, upload_id: UUID, name: str, push_token_id: UUID
    ) -> Upload | None:
        """Who began it goes on with it, and nobody else."""
        row = await self._queries.one(
            connection, "find_upload", upload_id=upload_id, name=name, push_token_id=push_token_id
        )
        return Upload(**row) if row is not None else None

    async def open_upload(self, connection: asyncpg.Connection, upload: Upload, changed_at: datetime) -> bool:
        """False when another request adds to it, or has since."""
        values = {"upload_id": upload.upload_id, "session": upload.session, "changed_at": changed_at}
        return await self._queries.run(connection, "open_upload", **values) == 1

    async def move_upload(self, connection: asyncpg.Connection, upload: Upload, changed_at: datetime) -> None:
        await self._queries.run(connection, "move_upload", **asdict(upload), changed_at=changed_at)

    async def end_upload(self, connection: asyncpg.Connection, upload_id: UUID) -> None:
        await self._queries.run(connection, "end_upload", upload_id=upload_id)

    async def forget_uploads(self, connection: asyncpg.Connection, before: datetime) -> None:
        await self._queries.run(connection, "forget_uploads", before=before)
