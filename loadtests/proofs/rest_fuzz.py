"""Whatever the OpenAPI document allows, and what it does not, in each role: no 500, nothing undocumented,
nothing valid refused as invalid. `make fuzz-rest` runs it: it takes minutes, so the tests leave it out.

By schemathesis, which makes requests of the document and holds answers against it: of each operation by
itself (`fuzzing`), and in chains in which a call takes what another answered (`stateful`).
"""

import asyncio
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from ams_local.rest import People, Rest
from schemathesis import GenerationMode
from support.api_fuzzing import Outcome, fuzz
from support.running_system import ADMIN_EMAIL, RunningSystem, running

# For each operation.
_EXAMPLES = int(os.environ.get("FUZZ_REST_EXAMPLES", "1"))
_SEED = int(os.environ.get("FUZZ_REST_SEED", "7"))
# Who calls: with a session, or with a personal access token that may only read.
_CALLERS = (
    "nobody",
    "consumer",
    "merchant",
    "admin",
    "consumer's token",
    "merchant's token",
    "admin's token",
)


@dataclass
class Caller:
    """Somebody who signs in, and again when a call has ended the session."""

    name: str
    system: RunningSystem
    email: str = ""
    token: str = ""

    def current_token(self) -> str:
        """A token that is good; "" for nobody."""
        return "" if self.name == "nobody" else asyncio.run(self._current_token())

    async def _current_token(self) -> str:
        async with aiohttp.ClientSession() as http:
            people = self.system.people(http)
            if self.token and (await people.rest.as_(self.token).ask("GET", "/me")).status == 200:
                return self.token
            self.token = await self._new_token(people)
            return self.token

    async def _new_token(self, people: People) -> str:
        await people.mail.mark_all_read()
        role, _, reading = self.name.partition("'")
        signed_in = await self._sign_in(people, role)
        if not reading:
            return signed_in.token
        made = await signed_in.post(
            "/tokens", name="Fuzzing", role=role.upper(), scope="TOKEN_READ", ttlDays=1
        )
        return str(made["secret"])

    async def _sign_in(self, people: People, role: str) -> Rest:
        if role == "admin":
            return await people.sign_in(ADMIN_EMAIL)
        if self.email:
            return await people.sign_in(self.email)
        tag = secrets.token_hex(4)
        self.email = f"{role}-{tag}@example.com"
        if role == "consumer":
            return await people.register_consumer(self.email)
        admin = await people.signed_in(ADMIN_EMAIL)
        return await people.register_merchant(admin, self.email, f"Maps {tag}")


@pytest.fixture(scope="module")
def fuzzed(admin_database_url: str, redis_url: str, kafka_bootstrap: str) -> Iterator[RunningSystem]:
    """A system of its own: what is sent may change anything."""
    with running(admin_database_url, redis_url, kafka_bootstrap) as system:
        yield system


@pytest.fixture(scope="module")
def document(fuzzed: RunningSystem) -> dict[str, Any]:
    async def read() -> dict[str, Any]:
        async with aiohttp.ClientSession() as http:
            return await Rest(http, fuzzed.rest_url).get("/openapi.json")

    return asyncio.run(read())


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", _CALLERS)
def test_what_is_answered_is_what_the_document_says(
    fuzzed: RunningSystem, document: dict[str, Any], name: str
) -> None:
    caller = Caller(name, fuzzed)
    for phase, modes in (
        ("fuzzing", [GenerationMode.POSITIVE]),
        ("fuzzing", [GenerationMode.NEGATIVE]),
        ("stateful", [GenerationMode.POSITIVE]),
    ):
        outcome = fuzz(
            document,
            fuzzed.rest_url,
            caller.current_token,
            phases=[phase],
            modes=modes,
            examples=_EXAMPLES,
            seed=_SEED,
        )
        print(f"{name}, {phase} {modes[0].value}: {outcome}")
        assert not outcome.faults, _told(outcome)
        if phase == "fuzzing" and modes == [GenerationMode.POSITIVE]:
            # Else nothing is shown: whoever calls was let in.
            assert outcome.successes
    assert name == "nobody" or caller.current_token()


def _told(outcome: Outcome) -> str:
    """What failed, and how to send it again."""
    lines = [f"{label}, {check}: {text}" for (label, check), text in outcome.faults.items()]
    return f"{len(lines)} faults\n" + "\n\n".join(lines)
