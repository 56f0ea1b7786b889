import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ams.audit.v1.events_pb2 import AuditRecord
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ServiceSnapshot
from ams.policy.v1.policy_pb2 import Rule
from ams_common import topics
from ams_common.context import Caller, Client, RequestContext, request_context
from ams_common.database import AuditMissingError, Database
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7

USER = uuid7()


@contextmanager
def serving(audit: str, user_id: object = USER) -> Iterator[None]:
    """As if an RPC with this audit name were being served."""
    caller = Caller(user_id=user_id, credential="session:s-1")  # type: ignore[arg-type]
    call = RequestContext("r-1", caller, Rule(audit=audit), Client("203.0.113.7"))
    reset = request_context.set(call)
    yield
    request_context.reset(reset)


async def outbox_topics(database: Database) -> list[str]:
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT topic FROM outbox ORDER BY outbox_id")
    return [row["topic"] for row in rows]


async def test_change_audit_record_and_events_commit_together(database: Database) -> None:
    with serving("service.create"):
        async with database.change() as change:
            change.publish(topics.CATALOG_EVENTS, "s", pb.Service(name="Geo"))
            change.snapshot("ams:service:s", ServiceSnapshot(slug="geo"))
            change.audit("service", "s", name="Geo")
    assert await outbox_topics(database) == [topics.CATALOG_EVENTS, "ams:service:s", topics.AUDIT_EVENTS]
    async with database.connection() as connection:
        payload = await connection.fetchval(
            "SELECT payload FROM outbox WHERE topic = $1", topics.AUDIT_EVENTS
        )
    record = AuditRecord.FromString(payload)
    assert (record.actor, record.action, record.resource_id, record.request_id) == (
        str(USER),
        "service.create",
        "s",
        "r-1",
    )
    assert dict(record.details) == {"name": "Geo"}
    assert (record.credential, record.client_address) == ("session:s-1", "203.0.113.7")


async def test_a_failure_leaves_nothing_behind(database: Database) -> None:
    with serving("service.create"), pytest.raises(ZeroDivisionError):
        async with database.change() as change:
            change.audit("service", "s")
            raise ZeroDivisionError
    assert await outbox_topics(database) == []


async def test_a_change_without_audit_record_is_rolled_back(database: Database) -> None:
    with serving("service.create"), pytest.raises(AuditMissingError):
        async with database.change() as change:
            change.publish(topics.CATALOG_EVENTS, "s", pb.Service())
    assert await outbox_topics(database) == []


async def test_an_rpc_without_audit_name_cannot_change_anything(database: Database) -> None:
    with serving(""), pytest.raises(AuditMissingError):
        async with database.change():
            pass


async def create(database: Database, request: pb.CreateServiceRequest) -> pb.Service:
    async with database.change() as change:
        if (done := await change.replay(request, pb.Service)) is not None:
            return done
        answer = pb.Service(service_id=str(uuid7()), name=request.name)
        change.audit("service", answer.service_id)
        await change.remember(request, answer)
        return answer


async def test_a_repeated_idempotency_key_gives_the_first_answer_even_at_once(database: Database) -> None:
    request = pb.CreateServiceRequest(name="Geo", idempotency_key="k")
    with serving("service.create"):
        answers = await asyncio.gather(*(create(database, request) for _ in range(4)))
    assert len({answer.service_id for answer in answers}) == 1
    assert await outbox_topics(database) == [topics.AUDIT_EVENTS]


async def test_an_idempotency_key_belongs_to_one_request_and_one_caller(database: Database) -> None:
    with serving("service.create"):
        first = await create(database, pb.CreateServiceRequest(name="Geo", idempotency_key="k"))
        with pytest.raises(InvalidArgumentError) as caught:
            await create(database, pb.CreateServiceRequest(name="Other", idempotency_key="k"))
    assert caught.value.code == "idempotency_key_reused"
    with serving("service.create", uuid7()):
        other = await create(database, pb.CreateServiceRequest(name="Geo", idempotency_key="k"))
    assert other.service_id != first.service_id
