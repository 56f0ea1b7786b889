"""`make bench-questions`: how long usage-svc takes to answer what pages ask, of a year of one consumer's
usage.

    python -m loadtests.bench.questions [--events N] [--of-others N] [--keys N] [--others N] [--rounds N]

CPU is that of usage-svc and of the asker, which share a process here, and that of all of PostgreSQL's; where
others keep the machine busy, it says more than the time does. Rollups of a year, which the code of
production has summed up, are loaded by COPY. Then each question is asked again and again, over gRPC with a
token, as pages do: what is told is the whole time until the answer is there. DATABASE_URL is used where it
is set.
"""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
import grpc
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common.clock import to_timestamp
from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.migrations import migrate
from ams_common.pseudonyms import Pseudonyms
from ams_common.server import build_server
from ams_common.testing.tokens import TestIssuer
from ams_common.tokens import TokenVerifier
from ams_local.servers import serving
from usage_svc.questions.answers import Questions
from usage_svc.rpc.calls import CallRpcs
from usage_svc.rpc.usage import UsageRpcs
from usage_svc.store import Store

from loadtests.bench.ingest_stage import Postgres
from loadtests.bench.question_history import Market, load
from loadtests.support.databases import fresh_database

AIM_P95_MS = 50.0
_WARM_UP = 3
# Questions of which the aim is asked: a year of one consumer's usage.
_YEAR = "a year"

Ask = Callable[[], Awaitable[Any]]


@dataclass(kw_only=True, eq=False)
class QuestionRpcs(UsageRpcs, CallRpcs):
    """The part of UsageService that is measured."""


class Pages:
    """What pages ask."""

    def __init__(self, stub: rpc.UsageServiceStub, issuer: TestIssuer, market: Market) -> None:
        self._stub = stub
        self._issuer = issuer
        self._market = market
        self._year = {"start": self._ago(365), "end": self._ago(0)}

    def questions(self) -> Mapping[str, Ask]:
        """By name."""
        consumer, merchant = self._consumer, self._merchant
        year, month = self._year, {"start": self._ago(30), "end": self._ago(0)}
        day, hour = (
            {"start": self._ago(1), "end": self._ago(0)},
            {"end": self._ago(0), "granularity": pb.MINUTE},
        )
        yesterday = f"{self._market.today - timedelta(days=1):%Y-%m-%d}"
        return {
            f"{_YEAR} by month": consumer(**year, granularity=pb.MONTH),
            f"{_YEAR} by month, with the one before": consumer(
                **year, granularity=pb.MONTH, with_previous=True
            ),
            f"{_YEAR} by month and service": consumer(**year, granularity=pb.MONTH, group_by=pb.SERVICE),
            f"{_YEAR} by day": consumer(**year),
            f"{_YEAR} by day of one key": consumer(
                **year, api_key_id=str(self._market.consumer[0].api_key_id)
            ),
            f"{_YEAR} by day and status class": consumer(**year, group_by=pb.STATUS_CLASS),
            f"{_YEAR} by day and the top five keys": consumer(**year, group_by=pb.KEY, top=5),
            f"{_YEAR} by month, in Zurich": consumer(**year, granularity=pb.MONTH, time_zone="Europe/Zurich"),
            f"{_YEAR} by day, in Zurich": consumer(**year, time_zone="Europe/Zurich"),
            f"{_YEAR} by day, in Kolkata": consumer(**year, time_zone="Asia/Kolkata"),
            f"{_YEAR} by day, in Auckland": consumer(**year, time_zone="Pacific/Auckland"),
            "30 days by day and service": consumer(**month, group_by=pb.SERVICE),
            "a day by hour": consumer(**day, granularity=pb.HOUR),
            "an hour by minute": consumer(**hour),
            "a merchant's 30 days by day": merchant(**month),
            "a merchant's 30 days, top ten consumers": merchant(**month, group_by=pb.CONSUMER, top=10),
            "everybody's day by hour": self._platform(**day, granularity=pb.HOUR),
            "everybody's 30 days by day": self._platform(**month),
            "everybody's year by month": self._platform(**year, granularity=pb.MONTH),
            "a consumer's calls of a day": self._calls("ListConsumerCalls", CONSUMER, day=yesterday),
            "a consumer's failed calls of a day": self._calls(
                "ListConsumerCalls", CONSUMER, day=yesterday, status_class="5xx"
            ),
            "a merchant's calls of a day": self._calls("ListMerchantCalls", MERCHANT, day=yesterday),
            "everybody's calls of a day": self._calls("ListPlatformCalls", ADMIN, day=yesterday),
            "a consumer's call by its id": self._calls(
                "ListConsumerCalls", CONSUMER, request_id=str(uuid7())
            ),
        }

    def _ago(self, days: int) -> Any:
        return to_timestamp(self._market.today - timedelta(days=days))

    def _consumer(self, **asked: Any) -> Ask:
        return self._usage("GetConsumerUsage", CONSUMER, asked)

    def _merchant(self, **asked: Any) -> Ask:
        return self._usage("GetMerchantUsage", MERCHANT, asked)

    def _platform(self, **asked: Any) -> Ask:
        return self._usage("GetPlatformUsage", ADMIN, asked)

    def _usage(self, method: str, role: Any, asked: Mapping[str, Any]) -> Ask:
        return self._call(method, role, pb.GetUsageRequest(**asked))

    def _calls(self, method: str, role: Any, **asked: Any) -> Ask:
        return self._call(method, role, pb.ListCallsRequest(**asked))

    def _call(self, method: str, role: Any, request: Any) -> Ask:
        one = self._market.consumer[0]
        user_id = {CONSUMER: one.consumer_id, MERCHANT: one.merchant_id, ADMIN: uuid7()}[role]
        metadata = (("authorization", f"Bearer {self._issuer.user_token(user_id, role)}"),)
        return partial(getattr(self._stub, method), request, metadata=metadata, timeout=30)


async def time_of(ask: Ask, rounds: int) -> tuple[list[float], Any]:
    """In milliseconds, sorted; and the last answer."""
    times_ms = []
    for number in range(_WARM_UP + rounds):
        started_s = time.perf_counter()
        answer = await ask()
        if number >= _WARM_UP:
            times_ms.append((time.perf_counter() - started_s) * 1000)
    return sorted(times_ms), answer


def described(answer: Any) -> str:
    """How much it holds."""
    if isinstance(answer, pb.ListCallsResponse):
        return f"{len(answer.calls)} calls"
    return f"{len(answer.points)} points of {answer.total.requests:,} calls"


async def run(arguments: argparse.Namespace, admin_url: str) -> None:
    issuer = TestIssuer()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(fresh_database(admin_url, "usage"))
        await migrate(url, "usage_svc")
        market = Market.make(arguments.keys, arguments.others, arguments.seed)
        connection = await asyncpg.connect(url)
        started_s = time.monotonic()
        await load(connection, market, arguments.events, arguments.of_others, arguments.seed)
        await connection.close()
        print(f"loaded in {time.monotonic() - started_s:.0f} s", flush=True)
        database = await stack.enter_async_context(Database.open(url, Store))
        # The other RPCs are not asked.
        QuestionRpcs.__abstractmethods__ = frozenset()
        service = QuestionRpcs(  # type: ignore[abstract]
            questions=Questions(database=database, pseudonyms=Pseudonyms("bench"))
        )
        descriptor = pb.DESCRIPTOR.services_by_name["UsageService"]
        add = partial(rpc.add_UsageServiceServicer_to_server, service)
        server = build_server(TokenVerifier(issuer), [(descriptor, add)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stack.push_async_callback(server.stop, None)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        postgres = await Postgres.of(admin_url)
        print(f"load average {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores")
        print(f"{'':45}{'p50 ms':>9}{'p95 ms':>9}{'CPU ms':>9}{'Postgres':>9}  holds")
        is_reached = True
        for name, ask in Pages(rpc.UsageServiceStub(channel), issuer, market).questions().items():
            started_s, postgres_started_s = time.process_time(), postgres.cpu_s()
            times_ms, answer = await time_of(ask, arguments.rounds)
            cpu_ms = (time.process_time() - started_s) * 1000 / (arguments.rounds + _WARM_UP)
            postgres_ms = (postgres.cpu_s() - postgres_started_s) * 1000 / (arguments.rounds + _WARM_UP)
            p95_ms = statistics.quantiles(times_ms, n=20)[-1]
            is_reached &= not name.startswith(_YEAR) or p95_ms < AIM_P95_MS
            print(
                f"{name:45}{statistics.median(times_ms):9.1f}{p95_ms:9.1f}{cpu_ms:9.1f}{postgres_ms:9.1f}"
                f"  {described(answer)}",
                flush=True,
            )
        verdict = "reached" if is_reached else "MISSED"
        print(f"  aim: a year of one consumer's usage in p95 under {AIM_P95_MS:.0f} ms: {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000, help="of the consumer in a year")
    parser.add_argument("--of-others", type=int, default=5_000_000, help="of all others together")
    parser.add_argument("--keys", type=int, default=20, help="of the consumer")
    parser.add_argument("--others", type=int, default=300, help="consumers, with a key each")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=9)
    arguments = parser.parse_args()
    # Nobody asks these two here, so they need not be there.
    unused = {"REDIS_URL": "redis://127.0.0.1:1", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    with serving(throwaway=True, environment={**unused, **os.environ}) as servers:
        asyncio.run(run(arguments, servers.database_url))


if __name__ == "__main__":
    main()
