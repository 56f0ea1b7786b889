"""A month of a consumer's calls, from events in Kafka to its invoice and proof file."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER, Role
from ams.usage.v1.events_pb2 import CLIENT_CLOSED
from ams_common.clock import utc_now
from ams_rating.charging import ChargeRule
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, PerUnit, Price, Tier

from support.usage_pipeline import Caller, UsagePipeline

# The month before this one: its days are closed.
LAST_DAY = utc_now().date().replace(day=1) - timedelta(days=1)
MONTH = LAST_DAY.isoformat()[:7]
TIERED = Price(
    "EUR",
    (
        Component(
            Meter.REQUESTS, Graduated((Tier(10, Decimal("0.05")), Tier(None, Decimal("0.015"), Decimal(1))))
        ),
        Component(Meter.MEGABYTES, PerUnit(Decimal("12.5"))),
        Component(None, MonthlyFee(Decimal(3))),
    ),
    ChargeRule(is_client_error_free=True),
)


def at(day: int) -> datetime:
    """Noon of a day of that month."""
    return datetime(LAST_DAY.year, LAST_DAY.month, day, 12, tzinfo=UTC)


async def use(pipeline: UsagePipeline, caller: Caller) -> None:
    """A month of a consumer: tiers, a change of the price, calls that cost nothing, a call that lasts, and
    another consumer of the merchant on the same days. Billed is nothing yet."""
    other, key = Caller(caller.priced), Caller(caller.priced, caller.consumer_id)
    await pipeline.events.new_price(caller.priced, "0.02", at(20).date().isoformat())
    events = [caller.event(at(day), response_payload_size_bytes=1000 * day) for day in range(1, 29)]
    events += [key.event(at(day)) for day in (3, 19, 20, 21)]
    events += [caller.event(at(5), status_code=404), caller.event(at(25), status_code=404)]
    events += [caller.event(at(6), status_code=503), caller.event(at(7), is_test=True)]
    events += [caller.event(at(8), status_code=499, outcome=CLIENT_CLOSED)]
    events += [caller.event(at(9), is_continuation=True, response_payload_size_bytes=5_000_000)]
    others = [other.event(at(day)) for day in range(1, 29)]
    async with pipeline.running():
        await pipeline.send(events)
        await pipeline.send(others)
        await pipeline.rated(len(events) - 2 + len(others))


async def proof_of(
    pipeline: UsagePipeline, invoice_id: str, user_id: UUID, role: Role.ValueType
) -> list[bytes]:
    """The whole file's rows."""
    content, token = bytearray(), ""
    while True:
        request = pb.GetInvoiceProofRequest(invoice_id=invoice_id, page_token=token)
        part = await pipeline.billing.ask("GetInvoiceProof", request, user_id, role)
        content += part.content
        token = part.next_page_token
        if not token:
            return bytes(content).splitlines(keepends=True)


async def issued(pipeline: UsagePipeline, caller: Caller) -> pb.Invoice:
    """The consumer's newest invoice of all that is open."""
    await pipeline.billing.issue(LAST_DAY.isoformat(), merchant_id=str(caller.priced.merchant_id))
    request = pb.ListInvoicesRequest()
    answer = await pipeline.billing.ask("ListConsumerInvoices", request, caller.consumer_id, CONSUMER)
    found: pb.Invoice = answer.invoices[0]
    return found
