"""Reports and the archive in object stores as in directories: on a server that speaks S3, and in memory."""

import asyncio
import hashlib
import http.client
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pyarrow.parquet as pq
import pytest
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.usage.v1 import report_service_pb2 as pb
from ams.usage.v1 import report_service_pb2_grpc as rpc
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.errors import SettingsError
from ams_common.ids import uuid7
from ams_common.ports import free_port, is_listening
from ams_common.pseudonyms import Pseudonyms
from ams_common.testing.tokens import TestIssuer
from usage_svc.file_store import FileStore
from usage_svc.reporting.facts import FactSources
from usage_svc.reporting.making import ReportMaker
from usage_svc.retention.archive import ArchiveError, read_events
from usage_svc.retention.keeping import Retention
from usage_svc.rpc.reports import ReportService
from usage_svc.settings import load_settings
from usage_svc.store import Store

KEEP = timedelta(days=30)
KEEP_DAYS = 90
NOON = utc_now().replace(hour=12, minute=0, second=0, microsecond=0)
OLD = NOON - timedelta(days=KEEP_DAYS + 1)
_BUCKET = "kept"
_START_S = 60.0


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that speaks S3, with one bucket; who asks it has credentials."""
    port, log = free_port(), tmp_path_factory.mktemp("s3") / "server.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline_s = time.monotonic() + _START_S
        while not is_listening(port):
            assert server.poll() is None and time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.05)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("AWS_ACCESS_KEY_ID", "ams")
            environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            _make_bucket(port)
            yield port
    finally:
        server.terminate()
        server.wait(30)


def _make_bucket(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("PUT", f"/{_BUCKET}", headers={"content-length": "0"})
        assert connection.getresponse().status == 200
    finally:
        connection.close()


def s3_url(port: int, path: str) -> str:
    return f"s3://{path}?region=us-east-1&scheme=http&endpoint_override=127.0.0.1:{port}"


@pytest.fixture(params=["directory", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty store of each kind."""
    match request.param:
        case "directory":
            return str(tmp_path / "files")
        case "memory":
            return f"memory://{uuid7().hex}"
    return s3_url(request.getfixturevalue("s3_server"), f"{_BUCKET}/{uuid7().hex}/files")


@pytest.fixture
def files(url: str) -> FileStore:
    return FileStore(url)


def write(files: FileStore, name: str, content: bytes) -> None:
    with files.create(name) as file:
        file.write(content)


def test_a_file_is_there_once_it_is_written_and_until_it_is_deleted(files: FileStore) -> None:
    name = "day=2026-11-29/part-000.parquet"
    with pytest.raises(FileNotFoundError):
        files.read(name, 0, 1)
    with pytest.raises(FileNotFoundError):
        files.size_bytes(name)
    write(files, name, b"0123456789")
    write(files, "another", b"")
    assert (files.read(name, 3, 4), files.read(name, 8, 100), files.read(name, 10, 5)) == (
        b"3456",
        b"89",
        b"",
    )
    assert (files.size_bytes(name), files.size_bytes("another")) == (10, 0)
    write(files, name, b"anew")
    assert files.read(name, 0, 100) == b"anew"
    for _ in range(2):
        files.delete(name)
        with pytest.raises(FileNotFoundError):
            files.open(name)
    assert files.size_bytes("another") == 0


def test_a_file_of_many_parts_is_one(files: FileStore) -> None:
    """Of S3 a part holds at least 5 MB."""
    pieces = [hashlib.sha256(b"%d" % number).digest() * (1 << 16) for number in range(12)]
    with files.create("large") as file:
        for piece in pieces:
            file.write(piece)
    whole = b"".join(pieces)
    assert files.size_bytes("large") == len(whole) == 24 << 20
    assert files.read("large", 0, len(whole)) == whole
    assert files.read("large", 10 << 20, 99) == whole[10 << 20 :][:99]


def test_of_a_file_whose_writing_fails_nothing_stays(files: FileStore, url: str) -> None:
    with pytest.raises(RuntimeError), files.create("report.csv") as file:
        file.write(b"half of it")
        raise RuntimeError
    with pytest.raises(FileNotFoundError):
        files.open("report.csv")
    assert not Path(url).is_dir() or not list(Path(url).iterdir())


def test_what_a_killed_process_has_left_goes_with_the_file(tmp_path: Path) -> None:
    files = FileStore(str(tmp_path))
    writing = files.create("report.csv")
    writing.__enter__().write(b"half of it")
    assert [path.name for path in tmp_path.iterdir()] == ["report.csv.unfinished"]
    files.delete("report.csv")
    assert not list(tmp_path.iterdir())


def retention_of(database: Database[Store], files: FileStore) -> Retention:
    return Retention(
        database=database,
        files=files,
        keep_events_days=lambda: KEEP_DAYS,
        keep_minutes_days=30,
        keep_trees_days=1100,
    )


async def kept(database: Database) -> int:
    async with database.connection() as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM usage_events")
    return count


async def test_old_events_are_archived_and_can_be_read_for_a_proof(
    subject: Any, new_subject: Any, ingest: Any, database: Database[Store], files: FileStore
) -> None:
    events = [subject.event(OLD + timedelta(minutes=minute)) for minute in range(5)]
    await ingest([*events, new_subject().event(OLD)])
    retention = retention_of(database, files)
    await retention.run_once()
    assert await kept(database) == 0
    name = f"usage_events/day={OLD:%Y-%m-%d}/part-000.parquet"
    with files.open(name) as file:
        assert pq.read_table(file).num_rows == 6
    wanted = [UUID(bytes=event.event_id) for event in events[:2]]
    read = partial(read_events, files, name, subject.merchant_id, subject.consumer_id, wanted)
    assert sorted(row["event_id"] for row in await asyncio.to_thread(read)) == sorted(wanted)
    files.delete(name)
    with pytest.raises(ArchiveError):
        await asyncio.to_thread(read)


@pytest.mark.parametrize("damage", ["gone", "cut"])
async def test_what_became_of_a_file_after_the_export_is_seen_before_anything_is_dropped(
    damage: str, subject: Any, ingest: Any, database: Database[Store], files: FileStore
) -> None:
    await ingest([subject.event(OLD), subject.event(OLD)])
    retention = retention_of(database, files)
    export = await retention._export(OLD.date())
    content = files.read(export.file_name, 0, export.size_bytes)
    files.delete(export.file_name)
    if damage == "cut":
        write(files, export.file_name, content[:-10])
    await retention.run_once()
    assert await kept(database) == 0
    with files.open(export.file_name) as file:
        assert pq.read_table(file).num_rows == 2


async def test_while_the_store_takes_nothing_nothing_is_dropped(
    subject: Any, ingest: Any, database: Database[Store], s3_server: int
) -> None:
    await ingest([subject.event(OLD)])
    for nowhere in (
        s3_url(s3_server, "no-such-bucket/archive"),
        s3_url(free_port(), f"{_BUCKET}/nobody-listens"),
    ):
        with pytest.raises(OSError, match="AWS Error"):
            await retention_of(database, FileStore(nowhere)).run_once()
        assert await kept(database) == 1


async def test_a_report_is_made_read_in_pieces_and_deleted(
    new_subject: Any,
    ingest: Any,
    database: Database[Store],
    files: FileStore,
    pseudonyms: Pseudonyms,
    sources: FactSources,
    serve_rpc: Callable[..., Awaitable[grpc.aio.Channel]],
    issuer: TestIssuer,
) -> None:
    """In each format; over the server as a download does it."""
    subject = new_subject()
    yesterday = NOON - timedelta(days=1)
    await ingest([subject.event(yesterday + timedelta(minutes=minute)) for minute in range(3)])
    service = ReportService(database=database, files=files, pseudonyms=pseudonyms, keep=KEEP)
    descriptor = pb.DESCRIPTOR.services_by_name["ReportService"]
    add = partial(rpc.add_ReportServiceServicer_to_server, service)
    stub = rpc.ReportServiceStub(await serve_rpc(descriptor, add))
    maker = ReportMaker(database=database, files=files, pseudonyms=pseudonyms, sources=sources, keep=KEEP)
    metadata = (("authorization", f"Bearer {issuer.user_token(subject.consumer_id, CONSUMER)}"),)
    day = f"{yesterday:%Y-%m-%d}"
    for file_format in (pb.CSV, pb.JSON_LINES, pb.PARQUET, pb.PDF):
        request = pb.CreateReportRequest(first_day=day, last_day=day, format=file_format, detail=pb.BY_HOUR)
        asked = await stub.CreateReport(request, metadata=metadata)
        assert await maker.make_one()
        one = pb.GetReportRequest(report_id=asked.report_id)
        made = await stub.GetReport(one, metadata=metadata)
        assert made.status == pb.READY, made.error
        content = b""
        while len(content) < made.size_bytes:
            part = pb.ReadReportRequest(report_id=asked.report_id, offset=len(content))
            content += (await stub.ReadReport(part, metadata=metadata)).content
        assert len(content) == made.size_bytes > 0
        stored = f"{asked.report_id}-1.{made.file_name.rpartition('.')[2]}"
        assert files.size_bytes(stored) == made.size_bytes
        await stub.DeleteReport(pb.DeleteReportRequest(report_id=asked.report_id), metadata=metadata)
        assert await maker.purge() == 1
        with pytest.raises(FileNotFoundError):
            files.open(stored)


_GOOD = {
    "USAGE_DATABASE_URL": "postgresql://nowhere",
    "USAGE_LISTEN": "127.0.0.1:0",
    "IDENTITY_ADDRESS": "127.0.0.1:1",
    "BILLING_ADDRESS": "127.0.0.1:1",
    "CATALOG_ADDRESS": "127.0.0.1:1",
    "KEYS_ADDRESS": "127.0.0.1:1",
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
}


def test_s3_needs_nothing_more_and_what_needs_more_is_named_at_the_start() -> None:
    url = "s3://reports-of-ams/usage?region=eu-central-1"
    settings = load_settings({**_GOOD, "USAGE_REPORTS_URL": url, "USAGE_ARCHIVE_URL": url})
    assert settings.archive_url == url
    for wrong, said in (
        ("gs://bucket/reports", "gcsfs"),
        ("abfs://bucket/reports", "adlfs"),
        ("s3://bucket/reports?color=blue", "color"),
        ("s3://", "USAGE_REPORTS_URL"),
    ):
        with pytest.raises(SettingsError) as refused:
            load_settings({**_GOOD, "USAGE_REPORTS_URL": wrong})
        assert "USAGE_REPORTS_URL can't be used" in str(refused.value)
        assert said in str(refused.value)
