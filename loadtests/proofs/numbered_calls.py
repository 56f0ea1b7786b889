"""Calls that have a number of their own, and the merchant's API that writes down which have come."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web
from ams_common.testing.eventually import eventually
from support.trade import Trade

CALLERS = 8


class Upstream:
    """The merchant's API, which writes down each call before it answers."""

    def __init__(self) -> None:
        self.request_ids: list[str] = []
        self.calls: Counter[int] = Counter()

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        self.calls[int(request.headers["X-Call"])] += 1
        self.request_ids.append(request.headers.get("X-Request-Id", ""))
        return web.json_response({"answer": 42})

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Its base URL."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()


class Caller:
    """Calls at a rate, each with a number of its own, and remembers which were answered."""

    def __init__(self, gateway_url: str, trade: Trade, requests_per_s: float) -> None:
        self._url = f"{gateway_url}/api/consume"
        self._headers = {
            "Authorization": f"Bearer {trade.secret}",
            "X-AMS-Service": trade.service["serviceId"],
        }
        self._pause_s = CALLERS / requests_per_s
        self._number = 0
        self.answered: dict[str, int] = {}  # number of the call by request id
        self.others: Counter[str] = Counter()
        self.longest_pause_s = 0.0
        self._last_s = time.monotonic()
        self.stop = False

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            await asyncio.gather(*(self._call_on(http) for _ in range(CALLERS)))

    async def _call_on(self, http: aiohttp.ClientSession) -> None:
        while not self.stop:
            self._number += 1
            await self._call(http, self._number)
            await asyncio.sleep(self._pause_s)

    async def _call(self, http: aiohttp.ClientSession, number: int) -> None:
        headers = {**self._headers, "X-Call": str(number)}
        try:
            async with http.post(self._url, data=b"x" * 100, headers=headers) as answer:
                await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.others[type(error).__name__] += 1
            return
        if answer.status != 200:
            self.others[str(answer.status)] += 1
            return
        self.answered[answer.headers["X-Request-Id"]] = number
        now_s = time.monotonic()
        self.longest_pause_s = max(self.longest_pause_s, now_s - self._last_s)
        self._last_s = now_s

    def take_longest_pause_s(self) -> float:
        """Between two answers since this was last asked."""
        longest_s, self.longest_pause_s = self.longest_pause_s, 0.0
        return longest_s

    async def has_more(self, count: int, timeout_s: float) -> None:
        wanted = len(self.answered) + count

        async def enough() -> bool:
            return len(self.answered) >= wanted

        await eventually(enough, timeout_s)
