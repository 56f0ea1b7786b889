"""SchedulePrice, CancelPrice and ListPrices; and that prices start by themselves."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.catalog.v1.pricing_pb2 import PriceVersion
from ams_common.clock import from_timestamp
from ams_common.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from catalog_svc.price_starts import write_due_snapshots
from catalog_svc.prices import MAX_ANNOUNCED
from catalog_svc.testing import Caller, Catalog, MovingClock, price


def cancel_request(version: PriceVersion) -> pb.CancelPriceRequest:
    return pb.CancelPriceRequest(service_id=version.service_id, price_version_id=version.price_version_id)


async def prices_of(catalog: Catalog, caller: Caller, service_id: str) -> Sequence[PriceVersion]:
    request = pb.ListPricesRequest(service_id=service_id)
    return (await caller.call(catalog.stub.ListPrices, request)).prices


async def shown(catalog: Catalog, service_id: str) -> pb.MarketplaceService:
    request = pb.GetMarketplaceServiceRequest(service=service_id)
    return await catalog.nobody().call(catalog.stub.GetMarketplaceService, request)


async def snapshot(catalog: Catalog, service_id: str) -> ServiceSnapshot:
    request = pb.GetServiceSnapshotRequest(service=service_id)
    return await catalog.service("gateway").call(catalog.stub.GetServiceSnapshot, request)


async def announced_events(catalog: Catalog) -> list[tuple[str, bool]]:
    """(price version id, whether it was canceled) of each event, without the first prices'."""
    changed = [event.price_version_changed for event in await catalog.events()]
    return [(each.price_version_id, each.HasField("canceled_at")) for each in changed if each.service_id][1:]


async def test_a_price_is_announced_with_its_event_its_audit_and_in_the_marketplace(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    version = await catalog.schedule(merchant, service.service_id, "0.5", days=3)
    assert version.price == price("0.5")
    starts_at = from_timestamp(version.starts_at)
    assert (starts_at.date().isoformat(), starts_at.timetz()) == (catalog.day(3), time(tzinfo=UTC))

    assert await announced_events(catalog) == [(version.price_version_id, False)]
    audited = (str(merchant.user_id), "price.schedule", "service", service.service_id)
    assert (await catalog.audits())[-1] == audited
    in_marketplace = await shown(catalog, service.service_id)
    assert (in_marketplace.price, in_marketplace.next_price) == (service.price, version)
    assert (await snapshot(catalog, service.service_id)).price == service.price


async def test_a_price_starts_at_its_midnight_by_itself_and_once(
    catalog: Catalog, clock: MovingClock
) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    version = await catalog.schedule(merchant, service.service_id, "0.5", days=1)
    held = await snapshot(catalog, service.service_id)
    await write_due_snapshots(catalog.database, clock)
    assert (await snapshot(catalog, service.service_id)).version == held.version

    clock.advance(from_timestamp(version.starts_at) - clock())
    # Whatever the loop does: the price is a matter of time.
    own = await merchant.call(catalog.stub.GetService, pb.GetServiceRequest(service_id=service.service_id))
    assert own.price == price("0.5")
    in_marketplace = await shown(catalog, service.slug)
    assert in_marketplace.price == price("0.5")
    assert not in_marketplace.HasField("next_price")
    # Two processes at once write one snapshot.
    await asyncio.gather(*[write_due_snapshots(catalog.database, clock) for _ in range(2)])
    written = await catalog.snapshots(service.service_id)
    assert len(written) == 3
    assert (written[-1].price, written[-1].price_version_id) == (price("0.5"), version.price_version_id)
    assert written[-1].version > held.version


async def test_a_price_that_falls_due_while_nothing_runs_is_written_when_something_does(
    catalog: Catalog, clock: MovingClock
) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    for days, amount in ((1, "1"), (2, "2"), (40, "3")):
        await catalog.schedule(merchant, service.service_id, amount, days)
    clock.advance(timedelta(days=5))
    await write_due_snapshots(catalog.database, clock)
    assert (await catalog.snapshots(service.service_id))[-1].price == price("2")
    clock.advance(timedelta(days=40))
    await write_due_snapshots(catalog.database, clock)
    assert (await catalog.snapshots(service.service_id))[-1].price == price("3")


async def test_a_canceled_price_never_starts_and_is_told_of(catalog: Catalog, clock: MovingClock) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    version = await catalog.schedule(merchant, service.service_id, "0.5", days=1)
    canceled = await merchant.call(catalog.stub.CancelPrice, cancel_request(version))
    assert canceled.HasField("canceled_at")
    assert await announced_events(catalog) == [
        (version.price_version_id, False),
        (version.price_version_id, True),
    ]
    assert (await catalog.audits())[-1][1] == "price.cancel"
    assert not (await shown(catalog, service.service_id)).HasField("next_price")
    clock.advance(timedelta(days=2))
    await write_due_snapshots(catalog.database, clock)
    assert (await catalog.snapshots(service.service_id))[-1].price == service.price
    error = await merchant.error(catalog.stub.CancelPrice, cancel_request(version))
    assert error.code == "price_canceled"


async def test_a_price_that_has_started_cannot_be_canceled(catalog: Catalog, clock: MovingClock) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    version = await catalog.schedule(merchant, service.service_id, "0.5", days=1)
    clock.advance(timedelta(days=1))
    before = await catalog.state()
    error = await merchant.error(catalog.stub.CancelPrice, cancel_request(version))
    assert isinstance(error, FailedPreconditionError)
    assert error.code == "price_started"
    assert await catalog.state() == before


async def test_of_two_prices_for_one_day_the_later_made_holds(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    first = await catalog.schedule(merchant, service.service_id, "1", days=2)
    second = await catalog.schedule(merchant, service.service_id, "2", days=2)
    assert await announced_events(catalog) == [
        (first.price_version_id, False),
        (first.price_version_id, True),
        (second.price_version_id, False),
    ]
    assert (await shown(catalog, service.service_id)).next_price == second
    made = await asyncio.gather(
        *[catalog.schedule(merchant, service.service_id, "3", days=5) for _ in range(4)]
    )
    standing = [
        version
        for version in await prices_of(catalog, merchant, service.service_id)
        if not version.HasField("canceled_at") and version.starts_at == made[0].starts_at
    ]
    assert len(standing) == 1


async def test_the_same_idempotency_key_schedules_once(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    first, second = [
        await catalog.schedule(merchant, service.service_id, "1", days=2, idempotency_key="k1")
        for _ in range(2)
    ]
    assert first == second
    assert len(await prices_of(catalog, merchant, service.service_id)) == 2


async def test_a_day_that_has_begun_or_is_too_far_ahead_is_refused(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    before = await catalog.state()
    request = pb.SchedulePriceRequest(service_id=service.service_id, price=price("1"))
    for starts_on, code in (
        (catalog.day(-1), "price_start_invalid"),
        (catalog.day(0), "price_start_invalid"),
        (catalog.day(400), "price_start_invalid"),
        ("tomorrow", "invalid_argument"),
        ("2026-02-30", "invalid_argument"),
    ):
        request.starts_on = starts_on
        error = await merchant.error(catalog.stub.SchedulePrice, request)
        assert isinstance(error, InvalidArgumentError), starts_on
        assert (error.code, [each.field for each in error.violations]) == (code, ["startsOn"])
    request.starts_on = catalog.day(1)
    request.price.CopyFrom(price("-1"))
    error = await merchant.error(catalog.stub.SchedulePrice, request)
    assert error.code == "price_invalid"
    assert await catalog.state() == before


async def test_a_service_without_a_price_in_force_is_edited_instead(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    draft = await catalog.create(merchant)
    request = pb.SchedulePriceRequest(service_id=draft.service_id, price=price("1"), starts_on=catalog.day(1))
    error = await merchant.error(catalog.stub.SchedulePrice, request)
    assert isinstance(error, FailedPreconditionError)
    assert error.code == "price_not_started"


async def test_only_so_many_prices_can_be_announced(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    for day in range(1, MAX_ANNOUNCED + 1):
        await catalog.schedule(merchant, service.service_id, "1", day)
    # In the place of another one there is room.
    await catalog.schedule(merchant, service.service_id, "2", 1)
    request = pb.SchedulePriceRequest(
        service_id=service.service_id, price=price("1"), starts_on=catalog.day(MAX_ANNOUNCED + 1)
    )
    assert (await merchant.error(catalog.stub.SchedulePrice, request)).code == "too_many_prices"


async def test_prices_are_listed_newest_start_first_and_canceled_ones_never_crowd_others_out(
    catalog: Catalog,
) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    ahead = [await catalog.schedule(merchant, service.service_id, "1", days) for days in (9, 2, 5)]
    await merchant.call(catalog.stub.CancelPrice, cancel_request(ahead[2]))
    listed = await prices_of(catalog, merchant, service.service_id)
    assert [version.price_version_id for version in listed[:3]] == [
        ahead[0].price_version_id,
        ahead[2].price_version_id,
        ahead[1].price_version_id,
    ]
    assert listed[3].price == service.price
    await catalog.execute(
        "INSERT INTO price_versions"
        " (price_version_id, service_id, price, starts_at, created_at, canceled_at)"
        " SELECT gen_random_uuid(), service_id, price, starts_at + n * interval '1 s', created_at, created_at"
        " FROM price_versions, generate_series(1, 300) AS n WHERE canceled_at IS NULL"
    )
    listed = await prices_of(catalog, merchant, service.service_id)
    assert len(listed) == 200
    assert [each.price for each in listed if not each.HasField("canceled_at")] == [
        *[price("1")] * 2,
        service.price,
    ]


async def test_who_sees_a_services_prices(catalog: Catalog) -> None:
    owner, other, consumer = await catalog.known_merchant(), catalog.merchant(), catalog.consumer()
    service = await catalog.publish(owner)
    for caller in (owner, other, consumer, catalog.admin()):
        assert len(await prices_of(catalog, caller, service.service_id)) == 1
    hidden = await catalog.create(owner)
    for caller in (owner, catalog.admin()):
        assert await prices_of(catalog, caller, hidden.service_id) == []
    for caller in (other, consumer):
        request = pb.ListPricesRequest(service_id=hidden.service_id)
        theirs = await caller.error(catalog.stub.ListPrices, request)
        missing = await caller.error(catalog.stub.ListPrices, pb.ListPricesRequest(service_id=str(uuid7())))
        assert isinstance(theirs, NotFoundError)
        assert (theirs.code, theirs.message) == (missing.code, missing.message)


async def test_somebody_elses_prices_cannot_be_changed_and_look_like_none(catalog: Catalog) -> None:
    owner, outsider = await catalog.known_merchant(), await catalog.known_merchant()
    service, own = await catalog.publish(owner), await catalog.publish(outsider)
    version = await catalog.schedule(owner, service.service_id, "1", days=2)
    before = await catalog.state()
    wrong: list[tuple[Any, Any, str]] = [
        (catalog.stub.CancelPrice, cancel_request(version), "service_not_found"),
        (
            catalog.stub.CancelPrice,
            pb.CancelPriceRequest(service_id=own.service_id, price_version_id=version.price_version_id),
            "price_not_found",
        ),
        (
            catalog.stub.SchedulePrice,
            pb.SchedulePriceRequest(
                service_id=service.service_id, price=price("1"), starts_on=catalog.day(1)
            ),
            "service_not_found",
        ),
    ]
    for method, request, code in wrong:
        error = await outsider.error(method, request)
        assert isinstance(error, NotFoundError)
        assert error.code == code
    assert await catalog.state() == before


async def test_exactly_one_price_is_in_force_at_any_moment_whatever_was_announced_and_canceled(
    catalog: Catalog, clock: MovingClock
) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    chosen = random.Random(20261129)
    expected: dict[datetime, str] = {}
    [first] = await prices_of(catalog, merchant, service.service_id)
    expected[from_timestamp(first.starts_at)] = first.price_version_id
    for number in range(60):
        if chosen.random() < 0.2:
            clock.advance(timedelta(hours=chosen.randrange(1, 60)))
        announced = [starts_at for starts_at in expected if starts_at > clock()]
        if announced and chosen.random() < 0.35:
            starts_at = chosen.choice(announced)
            request = pb.CancelPriceRequest(
                service_id=service.service_id, price_version_id=expected.pop(starts_at)
            )
            await merchant.call(catalog.stub.CancelPrice, request)
        else:
            version = await catalog.schedule(
                merchant, service.service_id, f"0.{number + 1:03}", chosen.randrange(1, 20)
            )
            expected[from_timestamp(version.starts_at)] = version.price_version_id
    second = timedelta(seconds=1)
    moments = [start + shift for start in expected for shift in (-second, timedelta(), second)]
    for moment in moments:
        started = [starts_at for starts_at in expected if starts_at <= moment]
        [row] = await catalog.rows(
            "SELECT price_version_id FROM service_details($2) WHERE service_id = $1",
            UUID(service.service_id),
            moment,
        )
        # Before the first has started, the first stands in for it.
        assert str(row["price_version_id"]) == expected[max(started, default=min(expected))]
