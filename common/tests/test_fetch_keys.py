"""identity-svc being away, or slow, must not sign everybody out."""

import asyncio

import pytest
from ams_common import tokens
from ams_common.errors import DeadlineExceededError
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import JwksKeySource, jwks_json


class Identity:
    """Where the keys come from: answers while `is_there`, else keeps its callers waiting and fails."""

    def __init__(self, issuer: TestIssuer) -> None:
        self._jwks = jwks_json([issuer.key])
        self.is_there = True
        self.asked = 0
        self.is_waited_for = asyncio.Event()
        self.gives_up = asyncio.Event()

    async def fetch(self) -> str:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.is_there:
            self.is_waited_for.set()
            await self.gives_up.wait()
            raise DeadlineExceededError("deadline_exceeded", "Too slow.")
        return self._jwks


async def test_a_known_key_waits_for_nobody_who_is_asking_for_newer_ones(
    issuer: TestIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identity(issuer)
    source = JwksKeySource(identity.fetch)
    assert await source.find(issuer.key.key_id) is not None
    monkeypatch.setattr(tokens, "_MAX_AGE_S", -1.0)
    monkeypatch.setattr(tokens, "_REFETCH_INTERVAL_S", 0.0)
    identity.is_there = False
    first = asyncio.create_task(source.find(issuer.key.key_id))
    await identity.is_waited_for.wait()
    async with asyncio.timeout(5):
        assert await source.find(issuer.key.key_id) is not None
    identity.gives_up.set()
    assert await first is not None


async def test_a_failed_fetch_is_not_tried_again_at_once(
    issuer: TestIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identity(issuer)
    source = JwksKeySource(identity.fetch)
    assert await source.find(issuer.key.key_id) is not None
    monkeypatch.setattr(tokens, "_MAX_AGE_S", -1.0)
    monkeypatch.setattr(tokens, "_REFETCH_INTERVAL_S", 0.0)
    identity.is_there = False
    identity.gives_up.set()
    assert await source.find(issuer.key.key_id) is not None
    monkeypatch.setattr(tokens, "_REFETCH_INTERVAL_S", 3600.0)
    for _ in range(3):
        assert await source.find(issuer.key.key_id) is not None
        assert await source.find("unknown") is None
    assert identity.asked == 2


async def test_many_who_bring_an_unknown_key_ask_once(issuer: TestIssuer) -> None:
    identity = Identity(issuer)
    source = JwksKeySource(identity.fetch)
    found = await asyncio.gather(*(source.find(issuer.key.key_id) for _ in range(20)))
    assert None not in found
    assert identity.asked == 1
