"""Limits' calls to Redis: each script by its hash, all of one turn of the event loop in one pipeline."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisError

from ams_gateway.access.limits.policy import CounterId
from ams_gateway.access.limits.window import Ask, Reply
from ams_gateway.tasks import timeout

log = logging.getLogger(__name__)

RedisClient = Redis | RedisCluster

REGISTRY_KEY = "ams:limit:workers"
# A worker that was silent for so long has gone.
_GONE_MS = 5_000


class StoreDownError(Exception):
    """Redis can't be reached, or didn't answer in time."""


class Beat(NamedTuple):
    # Another one than before: Redis has lost what it held, or it is another Redis.
    epoch: bytes
    workers: int
    rank: int
    now_ms: int
    # How long those who were without Redis go on as if they still were.
    resume_ms: int


class _Script:
    def __init__(self, name: str) -> None:
        self.text = (files("ams_gateway.access.limits") / name).read_text()
        self.sha = sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class _Call(NamedTuple):
    script: _Script
    keys: tuple[str, ...]
    arguments: Sequence[str | int]


class LeaseStore:
    """`redis` must not repeat calls by itself (retries=0 in redis_client): what is given back is given back
    once."""

    def __init__(self, redis: RedisClient, *, timeout_s: float) -> None:
        self._redis: Any = redis
        self._timeout_s = timeout_s
        self._lease = _Script("lease.lua")
        self._heartbeat = _Script("heartbeat.lua")
        self.worker = secrets.token_hex(8)

    async def exchange(self, asks: Sequence[tuple[CounterId, Ask]]) -> list[Reply | None]:
        """One answer each, None for what couldn't be answered (a node of a cluster is away). Raises
        StoreDownError when nothing could be."""
        calls = [_Call(self._lease, counter.keys, ask.arguments()) for counter, ask in asks]
        return [None if answer is None else Reply(*answer) for answer in await self._run(calls)]

    async def beat(self, wait_ms: int) -> Beat:
        """`wait_ms`: for so long at least shall nobody who was without Redis lease anything."""
        arguments: list[str | int] = [self.worker, secrets.token_hex(8), _GONE_MS, wait_ms]
        (answer,) = await self._run([_Call(self._heartbeat, (REGISTRY_KEY,), arguments)])
        if answer is None:
            raise StoreDownError
        return Beat(*answer)

    async def leave(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._redis.hdel(REGISTRY_KEY, self.worker)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreDownError from error

    async def _run(self, calls: list[_Call]) -> list[Any]:
        try:
            async with timeout(self._timeout_s):
                answers = await self._send([("EVALSHA", call.script.sha, call) for call in calls])
                missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
                if missing:
                    # Redis forgets scripts when it restarts; sent in full once, it knows them again.
                    again = await self._send([("EVAL", calls[i].script.text, calls[i]) for i in missing])
                    for i, answer in zip(missing, again, strict=True):
                        answers[i] = answer
        except Exception as error:
            # Whatever the client library fails with (a cluster's errors are no RedisError): those who wait
            # must be told.
            log.debug("redis: %s", type(error).__name__, exc_info=True)
            raise StoreDownError from error
        if all(isinstance(answer, Exception) for answer in answers):
            raise StoreDownError from answers[0]
        return [None if isinstance(answer, Exception) else answer for answer in answers]

    async def _send(self, commands: list[tuple[str, str, _Call]]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for name, script, call in commands:
            pipeline.execute_command(name, script, len(call.keys), *call.keys, *call.arguments)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers
