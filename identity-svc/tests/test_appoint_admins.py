import asyncio
from typing import Any

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER
from identity_svc.accounts import appoint_admins


async def appoint(identity: Any, *emails: str) -> None:
    await appoint_admins(identity.servicer.database, emails, identity.clock)


async def test_a_configured_address_signs_in_as_admin(identity: Any) -> None:
    await appoint(identity, "Ada@Example.com")
    session = await identity.sign_in("ada@example.com")
    assert (list(session.user.roles), session.user.active_role) == ([ADMIN], ADMIN)
    [record] = await identity.audit_records("admin.appoint")
    assert (record.actor, record.resource_id) == ("system", session.user.user_id)


async def test_an_account_that_is_there_gets_the_role_beside_its_own(identity: Any) -> None:
    before = await identity.register_consumer("ada@example.com")
    await appoint(identity, "ada@example.com")
    after = await identity.sign_in("ada@example.com")
    assert after.user.user_id == before.user.user_id
    assert list(after.user.roles) == [ADMIN, CONSUMER]


async def test_appointing_again_or_from_two_processes_changes_nothing(identity: Any) -> None:
    await asyncio.gather(*(appoint(identity, "ada@example.com", "bob@example.com") for _ in range(3)))
    await appoint(identity, "ada@example.com", "bob@example.com")
    assert len(await identity.audit_records("admin.appoint")) == 2
    assert len(await identity.fetch("SELECT 1 FROM users")) == 2
