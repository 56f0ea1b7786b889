"""A short run of `make fuzz`: valid answers only, and whole requests at the upstream only."""

from pathlib import Path

from loadtests.proofs.fuzz import run
from loadtests.support.gateway import Servers

SECONDS = 8
# Always the same cases: a run that fails is to fail again.
SEED = 20


async def test_damaged_requests_get_valid_answers_and_reach_no_upstream(
    redis_url: str, kafka_bootstrap: str, tmp_path: Path
) -> None:
    findings, failed = await run(
        Servers(redis_url, kafka_bootstrap), tmp_path, seconds=SECONDS, seed_number=SEED
    )
    assert failed == []
    assert findings.delivered
