"""Pulls that were denied to good API keys are written down."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.errors import AppError

from registry_svc.auth.access_tokens import Access
from registry_svc.auth.authorizer import PullPushAuthorizer
from registry_svc.auth.errors import NotSignedInError, PullDeniedError
from registry_svc.auth.principals import Puller
from registry_svc.images.audit import change_by
from registry_svc.storage.store import Store

log = logging.getLogger(__name__)

_BETWEEN_RECORDS = timedelta(minutes=1)


class PullDenials:
    """Keeps who was denied what, for admins and the consumer's own security."""

    def __init__(self, database: Database[Store], authorizer: PullPushAuthorizer) -> None:
        self._database = database
        self._authorizer = authorizer

    @asynccontextmanager
    async def recorded(self, name: str, reference: str) -> AsyncIterator[None]:
        """Goes around a pull: a PullDeniedError that leaves the block is in the audit log before the client
        has it."""
        try:
            yield
        except PullDeniedError as denied:
            by = denied.by
            if isinstance(by, Access):
                try:
                    by = await self._authorizer.authenticate(by)
                except (NotSignedInError, AppError):
                    log.warning("a denied pull is nobody's", extra={"image": name})
            if isinstance(by, Puller):
                await self._record(by, name, reference, denied.message)
            raise

    async def _record(self, puller: Puller, name: str, reference: str, reason: str) -> None:
        """Writes it down, at most once a minute for a key and image. All that isn't there counts as one
        image, for there is no end of names that somebody may try."""
        now = utc_now()
        async with change_by(self._database, "image.pull_refused", puller) as change:
            subject = name if await change.store.is_known(name=name) else ""
            change.nothing_to_audit()  # what was written down within the minute needs no second record
            if await change.store.add_denial(
                key_id=UUID(puller.key.key_id), name=subject, refused_at=now, before=now - _BETWEEN_RECORDS
            ):
                change.audit("image", name, reference=reference, reason=reason, **puller.audit_details)
