from datetime import timedelta
from typing import Any

from ams.identity.v1 import identity_service_pb2 as pb
from identity_svc.retention import purge

EMAIL = "cora@example.com"


async def counts(identity: Any) -> dict[str, int]:
    tables = ("challenges", "sessions", "refresh_tokens")
    return {table: (await identity.fetch(f"SELECT count(*) FROM {table}"))[0]["count"] for table in tables}


async def test_purging_deletes_what_is_over_and_nothing_else(identity: Any) -> None:
    session = await identity.register_consumer(EMAIL)
    await purge(identity.servicer.database, identity.clock)
    assert await counts(identity) == {"challenges": 1, "sessions": 1, "refresh_tokens": 1}
    identity.clock.advance(timedelta(days=29))
    request = pb.RefreshSessionRequest(refresh_token=session.refresh_token)
    session = await identity.stub.RefreshSession(request)
    await purge(identity.servicer.database, identity.clock)
    assert await counts(identity) == {"challenges": 0, "sessions": 1, "refresh_tokens": 2}
    identity.clock.advance(timedelta(days=1))  # its end
    await purge(identity.servicer.database, identity.clock)
    assert await counts(identity) == {"challenges": 0, "sessions": 1, "refresh_tokens": 2}
    identity.clock.advance(timedelta(days=1, seconds=1))
    await purge(identity.servicer.database, identity.clock)
    assert await counts(identity) == {"challenges": 0, "sessions": 0, "refresh_tokens": 0}


async def test_purging_goes_on_over_many_batches(identity: Any) -> None:
    async with identity.servicer.database.change_by_system("test", audited=False) as change:
        await change.connection.execute(
            "INSERT INTO challenges (challenge_id, purpose, email, code_hash, created_at, expires_at)"
            " SELECT gen_random_uuid(), 'sign_in', n || '@example.com', sha256('x'), now(), now()"
            " FROM generate_series(1, 1200) n"
        )
    identity.clock.advance(timedelta(days=2))
    await purge(identity.servicer.database, identity.clock)
    assert (await counts(identity))["challenges"] == 0
