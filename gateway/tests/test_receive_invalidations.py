"""Changes that reach a running gateway through Redis, and what happens when they can't."""

from aiohttp import ClientSession
from ams.keys.v1 import events_pb2 as keys
from ams_common.snapshots import key_snapshot_key
from ams_common.testing.eventually import eventually
from ams_gateway.testing.running import GrantedKey, Running


async def status(http: ClientSession, gateway: Running, granted: GrantedKey) -> int:
    async with http.post(f"{gateway.url}/api/consume", headers=granted.headers) as answer:
        return answer.status


async def test_a_revocation_published_while_the_subscription_was_broken_takes_effect(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    invalidations = gateway.runtime.invalidations

    async def is_connected() -> bool:
        return invalidations.is_connected

    await eventually(is_connected)
    assert await status(http, gateway, granted) == 200
    # Written without a word to anybody: as if the message had been lost with the connection.
    await granted.write_key(status=keys.KEY_REVOKED, silently=True)
    assert await status(http, gateway, granted) == 200
    await granted.redis.client_kill_filter(_type="pubsub")

    async def is_refused() -> bool:
        return await status(http, gateway, granted) == 403

    await eventually(is_refused, timeout_s=5)
    await eventually(is_connected)


async def test_a_key_that_isnt_in_redis_any_more_is_unknown_to_a_fresh_gateway(
    gateway: Running, http: ClientSession, granted: GrantedKey
) -> None:
    await granted.redis.delete(key_snapshot_key(granted.key.sha256))
    assert await status(http, gateway, granted) == 401
