"""Who sends what: locust users that send at a constant rate, whatever they do.

Each request is named by the row of the table that it counts in. An answer that isn't the expected one is
a failure. locust rounds the times that it keeps, and counts them from when a request was sent: so each answer
is kept here, with its time since the request was due.
"""

import itertools
import json
import random
import time
from collections.abc import Iterator
from typing import Any, ClassVar

from locust import FastHttpUser, task

from loadtests.load.stage import CLOSED, ECHO, LIMITED, QUOTES, Answer, Stage

# One user waits for its answer before it asks again: enough of them that the rate holds at slow answers.
USERS = 40
_TIMEOUT_S = 10
_BODY = json.dumps({"text": "x" * 400})
_UNKNOWN_KEY = "ams_live_unknown"


class SteadyUser(FastHttpUser):
    """Sends at 1/USERS of the scenario's rate, evenly spread among the others."""

    abstract = True
    network_timeout = _TIMEOUT_S
    connection_timeout = _TIMEOUT_S
    url_field: ClassVar[str]  # the field of the stage that is its URL
    # Set for each run, before users are made.
    stage: ClassVar[Stage]
    requests_per_s: ClassVar[float]
    slots: ClassVar[Iterator[int]]
    forwarded: ClassVar[int]
    answers: ClassVar[list[Answer]]

    @classmethod
    def prepare(cls, stage: Stage, requests_per_s: float) -> None:
        cls.stage = stage
        cls.host = getattr(stage, cls.url_field)
        cls.requests_per_s = requests_per_s
        cls.slots = itertools.cycle(range(USERS))
        cls.forwarded = 0
        cls.answers = []

    def on_start(self) -> None:
        # Without this all of them would ask at the same moments. locust's own constant_throughput would
        # bring them together again: it counts this pause as time that a request took.
        pause_s = next(self.slots) / self.requests_per_s
        self._due_s = time.monotonic() + pause_s
        time.sleep(pause_s)

    def wait_time(self) -> float:
        """Until the next request is due, by the clock: one late answer makes none of the others late."""
        self._due_s += USERS / self.requests_per_s
        return max(0.0, self._due_s - time.monotonic())

    def ask(self, row: str, method: str, path: str, expected: set[int], **parts: Any) -> int:
        """Asks, and returns the status of the answer."""
        with self.client.request(method, path, name=row, catch_response=True, **parts) as answer:
            status: int = answer.status_code
            time_ms = (time.monotonic() - self._due_s) * 1000
            self.answers.append(Answer(row, status, status in expected, time_ms))
            if status in expected:
                answer.success()
            else:
                answer.failure(f"{method} {path.partition('?')[0]} answered {status}")
        return status


class ConsumeMix(SteadyUser):
    """Calls through the gateway; about a quarter is refused, with 401, 403 or 429."""

    url_field = "gateway_url"

    @task(6)
    def call_by_header(self) -> None:
        self._call("POST", "/api/consume", service=ECHO, data=_BODY)

    @task(4)
    def call_by_path(self) -> None:
        self._call("GET", f"/api/consume/{QUOTES}/quote?number={random.randint(1, 3)}")

    @task(2)
    def call_a_limited_service(self) -> None:
        self._call("POST", f"/api/consume/{LIMITED}", expected={200, 429}, data=_BODY)

    @task(1)
    def call_with_an_unknown_key(self) -> None:
        self._call("POST", "/api/consume", {401}, service=ECHO, key=_UNKNOWN_KEY, data=_BODY)

    @task(1)
    def call_what_was_not_granted(self) -> None:
        self._call("GET", f"/api/consume/{CLOSED}/", expected={403})

    def _call(
        self,
        method: str,
        path: str,
        expected: set[int] | None = None,
        *,
        service: str = "",
        key: str = "",
        data: str | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key or self.stage.key}"}
        if service:
            headers["X-AMS-Service"] = service
        if data:
            headers["Content-Type"] = "application/json"
        status = self.ask("consume", method, path, expected or {200}, headers=headers, data=data)
        type(self).forwarded += status == 200


class SingleItem(SteadyUser):
    """One service, as anybody sees it in the marketplace and as its merchant does (NFR1)."""

    url_field = "rest_url"

    @task
    def look_at_an_offer(self) -> None:
        self.ask("single item", "GET", f"/marketplace/services/{random.choice(self.stage.slugs)}", {200})

    @task
    def look_at_own_service(self) -> None:
        headers = {"Authorization": f"Bearer {self.stage.merchant_token}"}
        path = f"/services/{random.choice(self.stage.service_ids)}"
        self.ask("single item", "GET", path, {200}, headers=headers)


class Collection(SteadyUser):
    """Reads the marketplace page by page, as NFR1 has it."""

    url_field = "rest_url"

    @task(2)
    def browse(self) -> None:
        self._list("")

    @task(1)
    def turn_the_page(self) -> None:
        self._list(f"&pageToken={self.stage.second_page_token}")

    @task(1)
    def search(self) -> None:
        self._list("&query=load&tag=testing")

    def _list(self, query: str) -> None:
        path = f"/marketplace/services?pageSize={self.stage.page_size}{query}"
        self.ask("collection", "GET", path, {200})


SCENARIOS: dict[str, type[SteadyUser]] = {
    user.__name__: user for user in (ConsumeMix, SingleItem, Collection)
}
