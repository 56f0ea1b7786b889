"""A short run of `make hostile-day`: of each kind of call some, and nothing of one party at another."""

from collections import Counter
from pathlib import Path

from loadtests.proofs.hostile_clients import KINDS
from loadtests.proofs.hostile_day import run_day
from loadtests.proofs.leaks import find_leaks
from loadtests.support.gateway import Servers

CALLS_EACH = 50
# Always the same calls: a run that fails is to fail again.
SEED = 8


async def test_hostile_consumers_and_merchants_learn_nothing_of_each_other(
    redis_url: str, kafka_bootstrap: str, tmp_path: Path
) -> None:
    clients, merchants = await run_day(
        Servers(redis_url, kafka_bootstrap),
        tmp_path,
        seconds=0,
        seed_number=SEED,
        clients=4,
        merchants=3,
        least_calls=CALLS_EACH,
    )
    calls = [call for client in clients for call in client.calls]
    assert {call.kind for call in calls} == set(KINDS)
    statuses = Counter(call.answer.status for call in calls if call.answer is not None)
    # By one entry WebSockets are opened, by the other they are refused.
    assert statuses[200] and statuses[101] and statuses[501]
    assert all(merchant.requests for merchant in merchants)
    assert find_leaks(clients, merchants) == []
