"""Whatever the OpenAPI document allows, and what it does not, in each role: no 500, nothing undocumented,
nothing valid refused as invalid. `make fuzz-rest` runs it: it takes minutes, so the tests leave it out.

By schemathesis, which makes requests of the document and holds answers against it.
"""

import asyncio
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import aiohttp
import pytest
import schemathesis
from ams_local.rest import People, Rest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis import APIOperation, Case, GenerationMode
from support.running_system import ADMIN_EMAIL, RunningSystem, running

Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
Sent: TypeAlias = Case[Any]

# For each operation, role and kind of data.
_EXAMPLES = int(os.environ.get("FUZZ_REST_EXAMPLES", "1"))
_SEED = int(os.environ.get("FUZZ_REST_SEED", "7"))
_ROLES = ("nobody", "consumer", "merchant", "admin")
_CHECKS: list[Any] = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_headers_conformance,
    schemathesis.checks.response_schema_conformance,
    schemathesis.checks.negative_data_rejection,
    schemathesis.checks.positive_data_acceptance,
    schemathesis.checks.unsupported_method,
]


@pytest.fixture(scope="module")
def fuzzed(admin_database_url: str, redis_url: str, kafka_bootstrap: str) -> Iterator[RunningSystem]:
    """A system of its own: what is sent may change anything."""
    with running(admin_database_url, redis_url, kafka_bootstrap) as system:
        yield system


@pytest.fixture(scope="module")
def tokens(fuzzed: RunningSystem) -> Mapping[str, str]:
    """An access token for each role; "" for nobody."""

    async def sign_in() -> dict[str, str]:
        async with aiohttp.ClientSession() as http:
            people: People = fuzzed.people(http)
            admin: Rest = await people.signed_in(ADMIN_EMAIL)
            tag = secrets.token_hex(4)
            merchant = await people.register_merchant(admin, f"merchant-{tag}@example.com", f"Maps {tag}")
            consumer = await people.register_consumer(f"consumer-{tag}@example.com")
            return {
                "nobody": "",
                "consumer": consumer.token,
                "merchant": merchant.token,
                "admin": admin.token,
            }

    return asyncio.run(sign_in())


@pytest.fixture(scope="module")
def operations(fuzzed: RunningSystem) -> Mapping[str, Operation]:
    """All of the document but the consume endpoint's, which is the gateway's, by method and path."""
    schema = schemathesis.openapi.from_url(f"{fuzzed.rest_url}/api/v1/openapi.json")
    wanted: Any = schema.exclude(path_regex="^/api/consume").get_all_operations()
    found: list[Operation] = [each.ok() for each in wanted]
    return {f"{each.method.upper()} {each.path}": each for each in found}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("role", _ROLES)
@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda each: each.value
)
def test_what_is_answered_is_what_the_document_says(
    fuzzed: RunningSystem,
    tokens: Mapping[str, str],
    operations: Mapping[str, Operation],
    role: str,
    mode: GenerationMode,
) -> None:
    faults = []
    for name, operation in operations.items():
        try:
            _send_some(operation, mode, lambda case: _check(case, fuzzed.rest_url, tokens[role]))()
        except Exception as error:
            faults.append(f"{name}: {_told(error)}")
    assert not faults, f"{len(faults)} operations:\n" + "\n".join(faults)


def _send_some(
    operation: Operation, mode: GenerationMode, send: Callable[[Sent], None]
) -> Callable[[], None]:
    """A function that sends some requests of that kind to the operation."""

    @seeded(_SEED)
    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Sent) -> None:
        send(case)

    return run


def _check(case: Sent, url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = case.call(base_url=url, headers=headers, timeout=30)
    case.validate_response(answer, checks=_CHECKS)


def _told(error: Exception) -> str:
    """What failed, and how to send it again; in few lines."""
    inner = getattr(error, "exceptions", None) or [error]
    return " | ".join(" ".join(str(each).split())[:600] for each in inner)
