"""Which events a line of an invoice counts, and which of them invoices before have billed. Pure."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams.usage.v1.events_pb2 import Outcome
from ams_common.clock import to_timestamp
from ams_common.pseudonyms import Pseudonyms
from ams_rating.charging import ChargeClass, ChargeRule, is_charged
from ams_rating.events import UsageEvent
from ams_rating.proof import PriceVersion

from billing_svc.invoices import Invoice, Line
from billing_svc.messages import Audience
from billing_svc.proofs.parts import EventGroup, days_of
from billing_svc.proofs.store import Span


def version_of(line: Line, versions: Iterable[PriceVersion]) -> PriceVersion | None:
    """What rated the line, of the versions behind its invoice. None for a line that takes back what was
    billed under a version that has no days any more."""
    wanted = line.rated.key.price_version_id
    return next((version for version in versions if version.price_version_id == wanted), None)


def days_of_line(
    invoice: Invoice, version: PriceVersion, month: str, versions: Iterable[PriceVersion]
) -> tuple[date, date] | None:
    """The days of the month, through the invoice's last, on which the version was in force for the invoice;
    None: none. As ams-verify reckons it: days before a service's first version have the first."""
    first_day, last_day = days_of(invoice, EventGroup(version.service_id, month))
    of_service = [each for each in versions if each.service_id == version.service_id]
    if any(each.starts_on < version.starts_on for each in of_service):
        first_day = max(first_day, version.starts_on)
    later = [each.starts_on for each in of_service if each.starts_on > version.starts_on]
    if later:
        last_day = min(last_day, min(later) - timedelta(days=1))
    return (first_day, last_day) if first_day <= last_day else None


class LineEvents:
    """Tells which of a consumer's events of the line's service and days are the line's."""

    def __init__(
        self, merchant_id: UUID, spans: Sequence[Span], rule: ChargeRule, pseudonyms: Pseudonyms
    ) -> None:
        self._key_ids = {pseudonyms.of_key(merchant_id, span.api_key_id): span.api_key_id for span in spans}
        # By day, class, key and source: through which offset, and whether invoices before have billed it.
        self._bounds: defaultdict[tuple[date, ChargeClass, UUID, str], list[tuple[int, bool]]] = defaultdict(
            list
        )
        for span in spans:
            # An invoice before counted what another version's rule charged, and this one's may not.
            if is_charged(rule, span.charge_class):
                for source, offset in span.last_offsets.items():
                    key = (span.day, span.charge_class, span.api_key_id, source)
                    self._bounds[key].append((offset, span.is_billed_before))
        for bounds in self._bounds.values():
            # Stable: of two with one bound the earlier has the events.
            bounds.sort(key=_offset_of)

    def message_of(self, event: UsageEvent, audience: Audience) -> pb.LineEvent | None:
        """What the audience may read of the event; None for one that the line doesn't count."""
        api_key_id = self._key_ids.get(event.api_key)
        if event.is_test or api_key_id is None:
            return None
        bounds = self._bounds.get((event.day, event.charge_class, api_key_id, event.source), [])
        at = bisect_left(bounds, event.offset, key=_offset_of)
        if at == len(bounds):
            return None  # it came later
        message = pb.LineEvent(
            event_id=str(event.event_id),
            occurred_at=to_timestamp(event.occurred_at),
            key=event.api_key,
            outcome=Outcome.Value(event.outcome.upper()),
            status_code=event.status_code,
            request_bytes=event.request_bytes,
            response_bytes=event.response_bytes,
            is_continuation=event.is_continuation,
            is_billed_before=bounds[at][1],
        )
        # A merchant knows keys by its own form of them.
        if audience is not Audience.MERCHANT:
            message.api_key_id = str(api_key_id)
        return message


def _offset_of(bound: tuple[int, bool]) -> int:
    return bound[0]
