"""Pulls: what a client that pulls is given, and what is metered of it."""

from dataclasses import asdict
from datetime import datetime, timedelta
from uuid import UUID

from ams.usage.v1.events_pb2 import ANSWERED, ForwardedTotal, UsageEvent
from ams_common import topics
from ams_common.clock import to_timestamp, utc_now
from ams_common.database import Change, Database
from ams_common.ids import uuid7

from registry_svc.auth import access_tokens
from registry_svc.auth.access_tokens import Access
from registry_svc.auth.authorizer import PullGrant
from registry_svc.images.audit import audit_image, change_by
from registry_svc.storage.rows import Image, Pull
from registry_svc.storage.store import Store

# What an access token asked for by tag; it can't ask for anything once its time is over.
_RESOLUTIONS_KEPT: timedelta = 2 * access_tokens.TTL
# Nothing more is counted for a day that is over, but by who has looked at the clock just before.
_TOTALS_KEPT = timedelta(days=2)


class PullRecorder:
    """Keeps which version an access token is pulling, and meters each pull once.

    Tells how many it has metered, as a gateway does of its journal, so that reconciliation finds a pull that
    is lost. Each process counts in a journal of its own, from 1: who goes on after the database was restored
    would otherwise tell less than was told before, and a lost event could hide behind that.
    """

    def __init__(self, database: Database[Store]) -> None:
        self._database = database
        self._journal_id = uuid7()

    async def resolve(self, access: Access, image: Image) -> None:
        """Notes that the access token asked for this version by tag: the digests that it asks for next are
        of it."""
        now = utc_now()
        async with self._database.change_by_system("version resolved", audited=False) as change:
            # Here, for nothing else runs by itself that could keep the table small.
            await change.store.purge_resolutions(before=now - _RESOLUTIONS_KEPT)
            await change.store.purge_pull_totals(before=(now - _TOTALS_KEPT).date())
            await change.store.add_resolution(
                token_id=access.token_id, image_id=image.image_id, resolved_at=now
            )

    async def record(
        self, access: Access, grant: PullGrant, image: Image, *, manifest_bytes: int, duration_ms: int
    ) -> None:
        """Meters a pull once for an access token and version, however many manifests the client asks for:
        one request to bill."""
        now, key, service = utc_now(), grant.puller.key, grant.service
        pull = Pull(
            pull_id=uuid7(),
            token_id=access.token_id,
            image_id=image.image_id,
            digest=image.digest,
            consumer_id=UUID(key.consumer_id),
            key_id=UUID(key.key_id),
            project_id=UUID(key.project_id) if key.project_id else None,
            pulled_at=now,
        )
        usage = UsageEvent(
            event_id=pull.pull_id.bytes,
            timestamp=to_timestamp(now),
            consumer_id=key.consumer_id,
            api_key_id=key.key_id,
            service_id=service.service_id,
            merchant_id=service.merchant_id,
            project_id=key.project_id,
            price_version_id=service.price_version_id,
            key_prefix=key.key_prefix,
            response_payload_size_bytes=manifest_bytes,
            response_time_ms=duration_ms,
            status_code=200,
            outcome=ANSWERED,
            is_test=key.is_test,
        )
        async with change_by(self._database, "image.pull", grant.puller) as change:
            change.nothing_to_audit()  # a pull that was written down before needs no second record
            if await change.store.add_pull(**asdict(pull)):
                audit_image(change, image, grant.puller)
                change.publish(topics.USAGE_EVENTS, usage.consumer_id, usage)
                change.publish(
                    topics.USAGE_FORWARDED, usage.consumer_id, await self._count(change, usage, now)
                )

    async def _count(self, change: Change[Store], usage: UsageEvent, at: datetime) -> ForwardedTotal:
        """What the pulls of the day, merchant and consumer come to with this one. Of two that are counted at
        once the second waits for the first's commit, so no total leaves one out."""
        pulls = await change.store.count_pull(
            journal_id=self._journal_id,
            day=at.date(),
            merchant_id=UUID(usage.merchant_id),
            consumer_id=UUID(usage.consumer_id),
        )
        return ForwardedTotal(
            journal_id=self._journal_id.bytes,
            day=at.date().isoformat(),
            merchant_id=usage.merchant_id,
            consumer_id=usage.consumer_id,
            events=pulls,
        )
