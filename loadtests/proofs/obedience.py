"""How soon gateways obey: what calls that go on all the time were answered, beside the moments of changes."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp
from ams_common.testing.eventually import eventually

# So many calls in a row, begun after a change, show that it is obeyed for good.
STEADY = 8
CALLERS = 8


@dataclass(frozen=True, slots=True)
class Seen:
    """One call: when it began, and what came of it. `code`: why it was refused, "" for what was forwarded."""

    started_s: float
    code: str
    policy: str = ""
    shows_cost: bool = False


def lateness_s(calls: Sequence[Seen], changed_s: float, obeys: Callable[[Seen], bool]) -> float | None:
    """How long after a change the last call began that didn't obey it; 0 when all did. None: it can't be said
    yet, for too few calls have obeyed since. Pure."""
    since = [call for call in calls if call.started_s >= changed_s]
    late = [call.started_s for call in since if not obeys(call)]
    last_s = max(late, default=changed_s)
    steady = [call for call in since if obeys(call) and call.started_s >= last_s]
    return last_s - changed_s if len(steady) >= STEADY else None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many of all don't exceed. Pure."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 1000) // 1000) - 1)]


class Watcher:
    """Calls one service with one key, at a rate, and keeps what it sees lately."""

    def __init__(self, gateway_url: str, service: str, secret: str, requests_per_s: float) -> None:
        self._url = f"{gateway_url}/api/consume/{service}/"
        self.secret = secret
        self._pause_s = CALLERS / requests_per_s
        self.seen: list[Seen] = []
        self.is_slow = False
        self.stop = False

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            await asyncio.gather(*(self._call_on(http) for _ in range(CALLERS)))

    async def _call_on(self, http: aiohttp.ClientSession) -> None:
        while not self.stop:
            started_s = time.monotonic()
            headers = {"Authorization": f"Bearer {self.secret}"} | ({"X-Slow": "1"} if self.is_slow else {})
            try:
                async with http.get(self._url, headers=headers) as answer:
                    await answer.read()
                    is_problem = answer.content_type == "application/problem+json"
                    code = str((await answer.json()).get("code")) if is_problem else ""
                    policy = answer.headers.get("RateLimit-Policy", "")
                    shows_cost = "X-AMS-Cost-Estimate" in answer.headers
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                code, policy, shows_cost = type(error).__name__, "", False
            self.seen.append(Seen(started_s, code, policy, shows_cost))
            await asyncio.sleep(self._pause_s)

    async def lateness_s(
        self, changed_s: float, obeys: Callable[[Seen], bool], timeout_s: float
    ) -> float | None:
        """As the function; None: the change wasn't obeyed in time."""

        async def is_obeyed() -> bool:
            return lateness_s(self.seen, changed_s, obeys) is not None

        try:
            await eventually(is_obeyed, timeout_s)
        except TimeoutError:
            return None
        late_s = lateness_s(self.seen, changed_s, obeys)
        self.seen = [call for call in self.seen if call.started_s >= changed_s]
        return late_s
