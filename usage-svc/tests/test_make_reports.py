"""Reports: asked for over the real server, made from real rows into real files."""

import asyncio
import csv
import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pyarrow.parquet as pq
import pytest
from ams.identity.v1.notifications_pb2 import Notification
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.usage.v1 import report_service_pb2 as pb
from ams.usage.v1 import report_service_pb2_grpc as rpc
from ams_common import topics
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.errors import from_rpc_error
from ams_common.ids import uuid7
from ams_common.pseudonyms import Pseudonyms
from ams_common.testing.policies import callers_let_in
from ams_common.testing.tokens import TestIssuer
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfReader
from usage_svc.file_store import FileStore
from usage_svc.identity_events import apply_identity_events
from usage_svc.reporting import facts, pdf
from usage_svc.reporting.facts import FactSources, part_of
from usage_svc.reporting.making import STALE_AFTER, ReportMaker
from usage_svc.reporting.reports import MAX_UNFINISHED, Report
from usage_svc.reporting.store import ReportStore
from usage_svc.reporting.tables import Amount
from usage_svc.rpc.reports import ReportService
from usage_svc.store import Store
from usage_svc.testing import BillingServer, CatalogServer, KeysServer

KEEP = timedelta(days=30)
DESCRIPTOR = pb.DESCRIPTOR.services_by_name["ReportService"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "reports"


@pytest.fixture
def maker(
    database: Database[Store], directory: Path, pseudonyms: Pseudonyms, sources: FactSources
) -> ReportMaker:
    return ReportMaker(
        database=database,
        files=FileStore(str(directory)),
        pseudonyms=pseudonyms,
        sources=sources,
        keep=KEEP,
        chunk=3,
    )


@pytest.fixture
async def reports_channel(
    serve_rpc: Callable[..., Awaitable[grpc.aio.Channel]],
    database: Database[Store],
    directory: Path,
    pseudonyms: Pseudonyms,
) -> grpc.aio.Channel:
    service = ReportService(
        database=database, files=FileStore(str(directory)), pseudonyms=pseudonyms, keep=KEEP
    )
    return await serve_rpc(DESCRIPTOR, partial(rpc.add_ReportServiceServicer_to_server, service))


class Person:
    """Somebody who asks, in their roles."""

    def __init__(self, stub: rpc.ReportServiceStub, token: str) -> None:
        self._stub = stub
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def call(self, name: str, request: Any) -> Any:
        return await getattr(self._stub, name)(request, metadata=self._metadata, timeout=10)

    async def create(self, **fields: Any) -> pb.Report:
        given = {"first_day": DAY, "last_day": DAY, "format": pb.CSV, "detail": pb.BY_DAY, **fields}
        report: pb.Report = await self.call("CreateReport", pb.CreateReportRequest(**given))
        return report

    async def get(self, report_id: str) -> pb.Report:
        report: pb.Report = await self.call("GetReport", pb.GetReportRequest(report_id=report_id))
        return report

    async def content(self, report_id: str) -> bytes:
        request = pb.ReadReportRequest(report_id=report_id)
        part: pb.ReadReportResponse = await self.call("ReadReport", request)
        return part.content

    async def list(self, **fields: Any) -> pb.ListReportsResponse:
        page: pb.ListReportsResponse = await self.call("ListReports", pb.ListReportsRequest(**fields))
        return page


As = Callable[..., Person]


@pytest.fixture
def as_(reports_channel: grpc.aio.Channel, issuer: TestIssuer) -> As:
    stub = rpc.ReportServiceStub(reports_channel)
    return lambda user_id, *roles: Person(stub, issuer.user_token(user_id, *roles))


NOON = (utc_now() - timedelta(days=2)).replace(hour=12, minute=0, second=0, microsecond=0)
DAY = f"{NOON:%Y-%m-%d}"


async def notifications(database: Database) -> list[Notification]:
    async with database.connection() as connection:
        rows = await connection.fetch(
            "SELECT payload FROM outbox WHERE topic = $1 ORDER BY outbox_id", topics.NOTIFICATIONS
        )
    return [Notification.FromString(row["payload"]) for row in rows]


def csv_rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def files_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code(), from_rpc_error(raised.value).code


async def test_each_rpc_lets_in_exactly_its_callers(
    reports_channel: grpc.aio.Channel, issuer: TestIssuer
) -> None:
    people = {"admin", "merchant", "consumer"}
    assert await callers_let_in(reports_channel, DESCRIPTOR, issuer) == {
        "CreateReport": people,
        "ListReports": people,
        "GetReport": people,
        "ReadReport": people,
        "ShareReport": {"merchant"},
        "DeleteReport": people,
    }


async def test_every_named_query_is_understood(database: Database) -> None:
    async with database.connection() as connection:
        for name in ReportStore.queries.names():
            await ReportStore.queries.prepare(connection, name)


@pytest.mark.parametrize("detail", [pb.BY_DAY, pb.BY_HOUR, pb.CALLS])
async def test_every_format_has_the_same_rows(
    detail: Any, new_subject: Any, ingest: Any, as_: As, maker: ReportMaker
) -> None:
    subject = new_subject(project_id=uuid7())
    events = [
        subject.event(NOON + timedelta(hours=n), request_bytes=n, status_code=200 + n) for n in range(8)
    ]
    await ingest([*events, new_subject().event(NOON)])
    consumer = as_(subject.consumer_id, CONSUMER)
    contents = {}
    for file_format in (pb.CSV, pb.JSON_LINES, pb.PARQUET):
        asked = await consumer.create(format=file_format, detail=detail)
        assert asked.status == pb.QUEUED
        assert await maker.make_one()
        made = await consumer.get(asked.report_id)
        assert (made.status, made.progress_percent) == (pb.READY, 100)
        contents[file_format] = await consumer.content(asked.report_id)
        assert made.size_bytes == len(contents[file_format])
        assert made.rows == {pb.BY_DAY: 1, pb.BY_HOUR: 8, pb.CALLS: 8}[detail]
    of_csv = csv_rows(contents[pb.CSV])
    of_json = [json.loads(line) for line in contents[pb.JSON_LINES].splitlines()]
    of_parquet = pq.read_table(io.BytesIO(contents[pb.PARQUET])).to_pylist()
    for column in ("service_id", "key", "request_bytes", "project_id"):
        assert [row[column] for row in of_csv] == [str(row[column]) for row in of_json]
        assert [row[column] for row in of_json] == [row[column] for row in of_parquet]
    assert sum(row["request_bytes"] for row in of_parquet) == sum(range(8))
    assert {row["service_id"] for row in of_json} == {str(subject.service_id)}
    assert not await maker.make_one()


async def test_a_report_names_things_and_says_what_they_cost(
    new_subject: Any,
    ingest: Any,
    as_: As,
    maker: ReportMaker,
    catalog_server: CatalogServer,
    keys_server: KeysServer,
    billing_server: BillingServer,
) -> None:
    subject = new_subject(project_id=uuid7())
    other = new_subject(consumer_id=subject.consumer_id)
    catalog_server.names[str(subject.service_id)] = "=Weather"
    keys_server.names[str(subject.api_key_id)] = "Laptop"
    # 5 charged calls in three rows, and 2 that nobody charges in another; the amount has no thirds.
    await ingest(
        [
            *(subject.event(NOON + timedelta(hours=n), status_code=200) for n in (0, 0, 1, 3, 3)),
            *(subject.event(NOON + timedelta(hours=n), status_code=500) for n in (1, 2)),
            other.event(NOON),
        ]
    )
    billing_server.add(subject, "0.010001", day=DAY)
    consumer = as_(subject.consumer_id, CONSUMER)
    for detail in (pb.BY_DAY, pb.BY_HOUR):
        contents = {}
        for file_format in (pb.CSV, pb.JSON_LINES, pb.PARQUET):
            asked = await consumer.create(format=file_format, detail=detail)
            assert await maker.make_one()
            contents[file_format] = await consumer.content(asked.report_id)
        of_csv = csv_rows(contents[pb.CSV])
        of_json = [json.loads(line) for line in contents[pb.JSON_LINES].splitlines()]
        of_parquet = pq.read_table(io.BytesIO(contents[pb.PARQUET])).to_pylist()
        assert {(row["service"], row["merchant"], row["key_name"]) for row in of_json} == {
            ("=Weather", "株式会社", "Laptop"),
            # What nobody could name is called by its id, and isn't rated yet.
            (str(other.service_id), "", ""),
        }
        assert {row["service"] for row in of_csv} == {"'=Weather", str(other.service_id)}
        for rows in (of_csv, of_json, of_parquet):
            spent = [Decimal(row["spend"]) for row in rows if row["spend"]]
            assert sum(spent) == Decimal("0.010001")
            assert {row["currency"] for row in rows if row["spend"]} == {"EUR"}
        failed = [row for row in of_json if row["status_class"] == "5xx"]
        assert {Decimal(row["spend"]) for row in failed} == {0}
        assert [row["spend"] for row in of_json if row["service_id"] == str(other.service_id)] == [None]
    asked = await consumer.create(format=pb.PDF)
    await maker.make_one()
    text = PdfReader(io.BytesIO(await consumer.content(asked.report_id))).pages[0].extract_text()
    for words in ("=Weather", "Laptop", "Spend: 0.010001 EUR"):
        assert words in text


async def test_a_merchant_is_told_of_its_own_services_spend(
    new_subject: Any, ingest: Any, as_: As, maker: ReportMaker, billing_server: BillingServer
) -> None:
    subject = new_subject()
    others = [new_subject(merchant_id=subject.merchant_id, service_id=subject.service_id) for _ in range(4)]
    await ingest([each.event(NOON) for each in (subject, *others)])
    for each in others:
        billing_server.add(each, "1.5", "JPY", day=DAY)
    billing_server.add(subject, "2.25", day=DAY)
    merchant = as_(subject.merchant_id, MERCHANT)
    asked = await merchant.create(service_id=str(subject.service_id))
    await maker.make_one()
    rows = csv_rows(await merchant.content(asked.report_id))
    assert sorted((row["spend"], row["currency"]) for row in rows) == [
        *[("1.5000", "JPY")] * 4,
        ("2.250000", "EUR"),
    ]
    for request in billing_server.asked:
        assert request.merchant_id == str(subject.merchant_id)
        assert request.service_id == str(subject.service_id)
    # Nobody is asked about twice, in however many parts the rows come.
    consumers = [each for request in billing_server.asked for each in request.consumer_ids]
    assert len(consumers) == len(set(consumers)) == 5


async def test_a_report_waits_for_who_is_away_for_a_moment(
    subject: Any,
    ingest: Any,
    as_: As,
    maker: ReportMaker,
    billing_server: BillingServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(facts, "_PAUSE_S", 0.01)
    await ingest([subject.event(NOON)])
    billing_server.add(subject, "1", day=DAY)
    consumer = as_(subject.consumer_id, CONSUMER)
    for failures, status in ((2, pb.READY), (1000, pb.FAILED)):
        billing_server.failures = failures
        asked = await consumer.create()
        await maker.make_one()
        made = await consumer.get(asked.report_id)
        assert made.status == status
        assert ("can't be told" in made.error) == (status == pb.FAILED)


@given(
    st.integers(0, 10**9),
    st.sampled_from(("EUR", "JPY", "KWD")),
    st.lists(st.integers(1, 1000), min_size=1, max_size=50),
)
def test_parts_add_up_to_the_whole(units: int, currency: str, counts: list[int]) -> None:
    digits = {"EUR": 6, "JPY": 4, "KWD": 7}[currency]
    whole = Amount(Decimal(units).scaleb(-digits), currency)
    parts = [part_of(whole, sum(counts[:at]), own, sum(counts)).amount for at, own in enumerate(counts)]
    assert sum(parts) == whole.amount
    assert min(parts) >= 0


async def test_a_pdf_can_be_drawn_and_is_the_same_each_time(
    subject: Any, ingest: Any, as_: As, maker: ReportMaker, database: Database
) -> None:
    await ingest([subject.event(NOON + timedelta(minutes=n)) for n in range(5)])
    merchant = as_(subject.merchant_id, MERCHANT)
    asked = await merchant.create(format=pb.PDF, detail=pb.BY_HOUR)
    await maker.make_one()
    first = await merchant.content(asked.report_id)
    assert first.startswith(b"%PDF-")
    assert (await merchant.get(asked.report_id)).file_name == f"usage-{DAY}-{DAY}.pdf"
    async with database.connection() as connection:
        await connection.execute("UPDATE reports SET status = 1")
    await maker.make_one()
    assert await merchant.content(asked.report_id) == first


async def test_a_pdf_that_nobody_would_read_is_refused_with_words(
    subject: Any, ingest: Any, as_: As, maker: ReportMaker, monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    monkeypatch.setattr(pdf, "MAX_ROWS", 1)
    await ingest([subject.event(NOON), subject.event(NOON, status_code=404)])
    consumer = as_(subject.consumer_id, CONSUMER)
    asked = await consumer.create(format=pb.PDF)
    await maker.make_one()
    failed = await consumer.get(asked.report_id)
    assert failed.status == pb.FAILED
    assert "PDF" in failed.error
    assert not files_in(directory)


async def test_a_merchant_learns_no_identity(
    new_subject: Any, ingest: Any, as_: As, maker: ReportMaker, pseudonyms: Pseudonyms
) -> None:
    subject = new_subject(project_id=uuid7())
    other = new_subject(merchant_id=subject.merchant_id)
    await ingest(
        [subject.event(NOON), other.event(NOON), new_subject(consumer_id=subject.consumer_id).event(NOON)]
    )
    merchant = as_(subject.merchant_id, MERCHANT)
    for detail in (pb.BY_DAY, pb.CALLS):
        asked = await merchant.create(detail=detail)
        await maker.make_one()
        content = await merchant.content(asked.report_id)
        names = {pseudonyms.of_consumer(subject.merchant_id, each.consumer_id) for each in (subject, other)}
        assert {row["consumer"] for row in csv_rows(content)} == names
        for secret in (subject.consumer_id, subject.api_key_id, subject.project_id, subject.key_prefix):
            assert str(secret).encode() not in content


async def test_a_report_is_about_the_consumer_that_a_pseudonym_names(
    subject: Any, new_subject: Any, ingest: Any, as_: As, maker: ReportMaker, pseudonyms: Pseudonyms
) -> None:
    other = new_subject(merchant_id=subject.merchant_id)
    await ingest([subject.event(NOON), other.event(NOON)])
    merchant = as_(subject.merchant_id, MERCHANT)
    name = pseudonyms.of_consumer(subject.merchant_id, subject.consumer_id)
    asked = await merchant.create(consumer=name)
    await maker.make_one()
    rows = csv_rows(await merchant.content(asked.report_id))
    assert [row["consumer"] for row in rows] == [name]
    elsewhere = pseudonyms.of_consumer(uuid7(), subject.consumer_id)
    assert await refusal(merchant.create(consumer=elsewhere)) == (
        grpc.StatusCode.NOT_FOUND,
        "consumer_not_found",
    )
    assert (await refusal(merchant.create(consumer=str(subject.consumer_id))))[1] == "consumer_invalid"
    consumer = as_(subject.consumer_id, CONSUMER)
    assert (await refusal(consumer.create(consumer=name)))[1] == "filter_not_offered"


async def test_a_formula_in_a_csv_file_is_text(
    subject: Any, ingest: Any, as_: As, maker: ReportMaker
) -> None:
    await ingest([subject.event(NOON, request_id="=HYPERLINK(1)")])
    consumer = as_(subject.consumer_id, CONSUMER)
    asked = await consumer.create(detail=pb.CALLS)
    await maker.make_one()
    (row,) = csv_rows(await consumer.content(asked.report_id))
    assert row["request_id"] == "'=HYPERLINK(1)"


async def test_somebody_elses_report_is_none(subject: Any, as_: As, maker: ReportMaker) -> None:
    owner = as_(subject.merchant_id, MERCHANT)
    asked = await owner.create()
    await maker.make_one()
    not_found = (grpc.StatusCode.NOT_FOUND, "report_not_found")
    for stranger in (
        as_(uuid7(), MERCHANT),
        as_(uuid7(), ADMIN, MERCHANT),
        # The owner, without the role that it was made in.
        as_(subject.merchant_id, CONSUMER),
    ):
        assert await refusal(stranger.get(asked.report_id)) == not_found
        assert await refusal(stranger.content(asked.report_id)) == not_found
        delete = stranger.call("DeleteReport", pb.DeleteReportRequest(report_id=asked.report_id))
        assert await refusal(delete) == not_found
    share = as_(uuid7(), MERCHANT).call("ShareReport", pb.ShareReportRequest(report_id=asked.report_id))
    assert await refusal(share) == not_found
    assert (await owner.get(asked.report_id)).is_own


async def test_a_shared_report_is_seen_by_its_consumer_who_is_told_once(
    subject: Any, ingest: Any, as_: As, maker: ReportMaker, pseudonyms: Pseudonyms, database: Database
) -> None:
    await ingest([subject.event(NOON)])
    async with database.change_by_system("test", audited=False) as change:
        from ams.identity.v1.events_pb2 import IdentityEvent, MerchantChanged

        changed = MerchantChanged(
            merchant_id=str(subject.merchant_id), display_name="Geo", standing_version=1
        )
        await apply_identity_events(change, [IdentityEvent(merchant_changed=changed)])
    merchant, consumer = as_(subject.merchant_id, MERCHANT), as_(subject.consumer_id, CONSUMER)
    name = pseudonyms.of_consumer(subject.merchant_id, subject.consumer_id)
    asked = await merchant.create(consumer=name)
    share = pb.ShareReportRequest(report_id=asked.report_id)
    assert (await refusal(merchant.call("ShareReport", share)))[1] == "report_not_ready"
    await maker.make_one()
    assert not (await consumer.list()).reports
    for _ in range(2):
        assert (await merchant.call("ShareReport", share)).HasField("shared_at")
    (shared,) = (await consumer.list()).reports
    assert (shared.report_id, shared.is_own) == (asked.report_id, False)
    assert await consumer.content(asked.report_id) == await merchant.content(asked.report_id)
    (told,) = await notifications(database)
    assert told.user_id == str(subject.consumer_id)
    assert told.report_shared.merchant_name == "Geo"
    of_all = await merchant.create()
    await maker.make_one()
    share = pb.ShareReportRequest(report_id=of_all.report_id)
    assert (await refusal(merchant.call("ShareReport", share)))[1] == "report_of_several"


async def test_a_report_whose_maker_was_killed_is_made_by_another_one(
    subject: Any, ingest: Any, as_: As, maker: ReportMaker, database: Database, directory: Path
) -> None:
    await ingest([subject.event(NOON)])
    consumer = as_(subject.consumer_id, CONSUMER)
    asked = await consumer.create()
    async with database.change_by_system("test", audited=False) as change:
        killed = await ReportStore(change.connection).claim_report(stale_after=STALE_AFTER)
    assert killed
    with maker.files.create(killed.stored_as(1)) as file:
        file.write(b"half of it")
    assert not await maker.make_one()
    await _age(database)
    assert await maker.make_one()
    assert files_in(directory) == [killed.stored_as(2)]
    assert len(csv_rows(await consumer.content(asked.report_id))) == 1


async def test_a_maker_that_was_only_slow_doesnt_overwrite_its_successors_report(
    subject: Any, ingest: Any, as_: As, maker: ReportMaker, database: Database, directory: Path
) -> None:
    await ingest([subject.event(NOON)])
    consumer = as_(subject.consumer_id, CONSUMER)
    asked = await consumer.create()
    slow = replace(maker, chunk=1)
    at_work, go_on = asyncio.Event(), asyncio.Event()
    write = slow._write

    async def slow_write(report: Report, name: str) -> int:
        rows = await write(report, name)
        at_work.set()
        await go_on.wait()
        return rows

    slow._write = slow_write  # type: ignore[method-assign]
    task = asyncio.create_task(slow.make_one())
    await at_work.wait()
    await _age(database)
    assert await maker.make_one()
    go_on.set()
    await task
    assert len(files_in(directory)) == 1
    assert (await consumer.get(asked.report_id)).status == pb.READY
    assert len(csv_rows(await consumer.content(asked.report_id))) == 1


async def test_what_takes_its_makers_down_again_and_again_is_given_up(
    subject: Any, as_: As, maker: ReportMaker, database: Database
) -> None:
    consumer = as_(subject.consumer_id, CONSUMER)
    asked = await consumer.create()
    for _ in range(3):
        async with database.change_by_system("test", audited=False) as change:
            assert await ReportStore(change.connection).claim_report(stale_after=STALE_AFTER)
        await _age(database)
    assert await maker.make_one()
    assert (await consumer.get(asked.report_id)).status == pb.FAILED


async def test_files_go_with_their_reports(
    subject: Any, as_: As, maker: ReportMaker, database: Database, directory: Path
) -> None:
    consumer = as_(subject.consumer_id, CONSUMER)
    deleted, old, kept = [await consumer.create() for _ in range(3)]
    while await maker.make_one():
        pass
    await consumer.call("DeleteReport", pb.DeleteReportRequest(report_id=deleted.report_id))
    assert (await refusal(consumer.get(deleted.report_id)))[0] == grpc.StatusCode.NOT_FOUND
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE reports SET expires_at = now() - interval '1 minute' WHERE report_id = $1",
            UUID(old.report_id),
        )
    assert await maker.purge() == 2
    (name,) = files_in(directory)
    assert name.startswith(kept.report_id)
    assert [report.report_id for report in (await consumer.list()).reports] == [kept.report_id]


async def test_who_has_waited_long_is_told(
    subject: Any, as_: As, maker: ReportMaker, database: Database
) -> None:
    consumer = as_(subject.consumer_id, CONSUMER)
    await consumer.create()
    await maker.make_one()
    assert not await notifications(database)
    slow = await consumer.create()
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE reports SET created_at = created_at - interval '1 minute' WHERE status = 1"
        )
    await maker.make_one()
    (told,) = await notifications(database)
    assert (told.user_id, told.report_ready.report_id) == (str(subject.consumer_id), slow.report_id)


async def test_requests_that_make_no_sense_are_refused(as_: As) -> None:
    consumer = as_(uuid7(), CONSUMER)
    today = utc_now().date()
    tomorrow, long_ago = today + timedelta(days=1), today - timedelta(days=400)
    for fields, code in (
        ({"first_day": f"{today}", "last_day": f"{today - timedelta(days=1)}"}, "range_invalid"),
        ({"first_day": f"{long_ago}", "last_day": f"{today}"}, "range_too_large"),
        ({"first_day": f"{tomorrow}", "last_day": f"{tomorrow}"}, "range_invalid"),
        ({"format": pb.PDF, "detail": pb.CALLS}, "format_not_offered"),
        ({"format": 0}, "invalid_argument"),
        ({"service_id": "%"}, "invalid_argument"),
    ):
        assert await refusal(consumer.create(**fields)) == (grpc.StatusCode.INVALID_ARGUMENT, code), fields


async def test_calls_of_days_in_the_archive_are_said_to_be_gone(
    subject: Any, as_: As, maker: ReportMaker, database: Database
) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO archived_days VALUES ($1, 0, 'x', 1, 1, now(), now())", date.fromisoformat(DAY)
        )
    consumer = as_(subject.consumer_id, CONSUMER)
    asked = await consumer.create(detail=pb.CALLS)
    await maker.make_one()
    failed = await consumer.get(asked.report_id)
    assert (failed.status, DAY in failed.error) == (pb.FAILED, True)


async def test_one_owner_has_a_bounded_number_and_doesnt_keep_others_waiting(
    as_: As, maker: ReportMaker, database: Database
) -> None:
    greedy, other = as_(uuid7(), CONSUMER), as_(uuid7(), CONSUMER)
    for _ in range(MAX_UNFINISHED):
        await greedy.create()
    assert (await refusal(greedy.create()))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    asked = await other.create()
    async with database.change_by_system("test", audited=False) as change:
        # Somebody is at work on one of the many.
        await ReportStore(change.connection).claim_report(stale_after=STALE_AFTER)
    await maker.make_one()
    assert (await other.get(asked.report_id)).status == pb.READY


async def test_asking_twice_with_one_key_makes_one_report(as_: As) -> None:
    consumer = as_(uuid7(), CONSUMER)
    first = await consumer.create(idempotency_key="k")
    assert await consumer.create(idempotency_key="k") == first
    assert len((await consumer.list()).reports) == 1


async def test_an_account_with_several_roles_has_reports_in_each(as_: As) -> None:
    both = as_(uuid7(), MERCHANT, CONSUMER)
    of_merchant = await both.create(role=MERCHANT)
    of_consumer = await both.create(role=CONSUMER)
    assert [each.report_id for each in (await both.list(role=MERCHANT)).reports] == [of_merchant.report_id]
    assert [each.report_id for each in (await both.list(role=CONSUMER)).reports] == [of_consumer.report_id]
    assert await refusal(both.create(role=ADMIN)) == (grpc.StatusCode.PERMISSION_DENIED, "role_not_held")


async def test_reports_are_listed_newest_first_page_by_page(as_: As) -> None:
    consumer = as_(uuid7(), CONSUMER)
    made = [(await consumer.create()).report_id for _ in range(5)]
    pages = [report async for report in _all(consumer)]
    assert pages == made[::-1]


async def _all(person: Person) -> Any:
    token = ""
    while True:
        page = await person.list(page_size=2, page_token=token)
        for report in page.reports:
            yield report.report_id
        token = page.next_page_token
        if not token:
            return


async def _age(database: Database) -> None:
    """As if nobody had heard of the makers for long."""
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE reports SET heartbeat_at = now() - $1::interval", STALE_AFTER + timedelta(seconds=1)
        )
