"""Asking for codes and guessing them: bounded for whoever does it, and no owner is locked out."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import session_service_pb2 as session_pb
from ams_common.clients import ADDRESS, VOUCHER
from ams_common.ids import uuid7
from ams_common.testing.tokens import TestIssuer
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from identity_svc.allowances import Allowance
from identity_svc.retention import purge
from identity_svc.vault import Vault

OWNER, UNKNOWN = "owner@example.com", "nobody@example.com"
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
Metadata = Sequence[tuple[str, str]]


@pytest.fixture
def at(issuer: TestIssuer) -> Any:
    """`at(n)`: the metadata of calls from the n-th client address."""
    voucher = issuer.service_token("bff")

    def metadata(number: int) -> Metadata:
        return ((ADDRESS, f"203.0.{number // 250}.{number % 250 + 1}"), (VOUCHER, voucher))

    return metadata


async def ask(identity: Any, email: str, metadata: Metadata, device_token: str = "") -> pb.Challenge:
    tokens = [device_token] if device_token else []
    challenge: pb.Challenge = await identity.stub.StartSignIn(
        pb.StartSignInRequest(email=email, device_tokens=tokens), metadata=metadata
    )
    return challenge


async def give(
    identity: Any, challenge: pb.Challenge, code: str, metadata: Metadata, device_token: str = ""
) -> pb.Session:
    request = pb.VerifyChallengeRequest(
        challenge_id=challenge.challenge_id,
        code=code,
        device_tokens=[device_token] if device_token else [],
    )
    session: pb.Session = await identity.stub.VerifyChallenge(request, metadata=metadata)
    return session


async def mails_to(identity: Any, email: str = "%") -> int:
    [row] = await identity.fetch("SELECT count(*) FROM mails WHERE recipient LIKE $1", email)
    return int(row["count"])


async def outcomes(calls: Any, at_once: int = 40) -> Counter[str]:
    """How calls end: "" or the code of their error."""
    counted: Counter[str] = Counter()
    turns = asyncio.Semaphore(at_once)

    async def one(call: Any) -> None:
        async with turns:
            try:
                await call
                counted[""] += 1
            except grpc.aio.AioRpcError as error:
                details = (error.details() or "").lower()
                counted["too_many" if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED else details] += 1

    await asyncio.gather(*(one(call) for call in calls))
    return counted


def wrong_codes(code: str, count: int) -> Iterator[str]:
    return (f"{(int(code) + n) % 1_000_000:06}" for n in range(1, count + 1))


async def test_a_thousand_guesses_and_ten_thousand_addresses_asked_lock_nobody_out(
    identity: Any, at: Any
) -> None:
    """1,000 parallel guesses, 10,000 addresses asked from 10 sources: no code falls, no owner is locked out,
    mails stay within budget."""
    owner = await identity.register_consumer(OWNER)
    challenges = [await ask(identity, OWNER, at(n)) for n in range(10)]
    code = await identity.code_to(OWNER)

    guessed = await outcomes(
        give(identity, challenges[n % 10], guess, at(n % 10))
        for n, guess in enumerate(wrong_codes(code, 1000))
    )
    assert guessed[""] == 0
    [row] = await identity.fetch("SELECT sum(attempts) AS attempts FROM challenges WHERE email = $1", OWNER)
    assert row["attempts"] - 1 <= 15 + 10  # what an account has at once; one is the owner's own

    asked = await outcomes(
        ask(identity, OWNER if n % 20 == 0 else f"a{n}@example.com", at(n % 10)) for n in range(10_000)
    )
    assert 0 < asked[""] <= 10 * 75 + 10
    assert asked["too_many"] == 10_000 - asked[""]
    # First ones and further ones, at once, and what registering took.
    assert await mails_to(identity, OWNER) <= 20 + 10 + 1
    [row] = await identity.fetch("SELECT count(*) FROM codes")
    assert row["count"] <= asked[""] + 20

    # The owner: in the browser that has signed in before, whose network was among them; and in one that
    # nothing is known of, elsewhere.
    for metadata, device_token in ((at(0), owner.device_token), (at(999), "")):
        mine = await ask(identity, OWNER, metadata, device_token)
        session = await give(identity, mine, await identity.code_to(OWNER), metadata, device_token)
        assert session.user.user_id == owner.user.user_id


async def test_a_stranger_who_asks_uses_up_only_what_is_theirs(identity: Any, at: Any) -> None:
    await identity.register_consumer(OWNER)
    theirs = await outcomes(ask(identity, OWNER, at(1)) for _ in range(40))
    assert theirs == {"": 20, "too_many": 20}
    mine = await ask(identity, OWNER, at(2))
    assert not mine.is_earlier_code
    assert await give(identity, mine, await identity.code_to(OWNER), at(2))


@pytest.mark.parametrize("email", [OWNER, UNKNOWN])
async def test_the_code_is_mailed_again_and_then_only_asked_for(identity: Any, at: Any, email: str) -> None:
    """Whether anybody has the address doesn't show."""
    await identity.register_consumer(OWNER)
    before = await mails_to(identity, OWNER)
    asked = [await ask(identity, email, at(1)) for _ in range(5)]
    assert [challenge.is_earlier_code for challenge in asked] == [False] * 3 + [True] * 2
    assert len({challenge.challenge_id for challenge in asked}) == 5
    assert await mails_to(identity, OWNER) - before == (3 if email == OWNER else 0)
    if email == OWNER:
        mails = await identity.fetch(
            "SELECT sealed_values FROM mails WHERE recipient = $1 ORDER BY created_at DESC LIMIT 3", OWNER
        )
        assert len({identity.servicer.vault.unseal(row["sealed_values"]) for row in mails}) <= 2
        assert await give(identity, asked[4], await identity.code_to(OWNER), at(1))


async def test_a_code_is_used_up_for_whoever_asked_for_it(identity: Any, at: Any) -> None:
    await identity.register_consumer(OWNER)
    theirs, mine = await ask(identity, OWNER, at(1)), await ask(identity, OWNER, at(2))
    code = await identity.code_to(OWNER)
    calls = [give(identity, each, code, at(2)) for each in (theirs, mine, mine, theirs)]
    assert (await outcomes(calls))[""] == 1


async def test_without_mails_left_who_asks_is_told_when_to_come_back(identity: Any, at: Any) -> None:
    await identity.register_consumer(OWNER)
    for _ in range(3):
        await ask(identity, OWNER, at(1))
    identity.clock.advance(timedelta(minutes=9))  # the code is nearly over
    error = await identity.error_of(ask(identity, OWNER, at(1)))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too_many_codes")
    identity.clock.advance(timedelta(seconds=int(error.metadata["retry_after_s"])))
    assert not (await ask(identity, OWNER, at(1))).is_earlier_code


async def test_a_known_browser_asks_and_guesses_on_its_own_account(identity: Any, at: Any) -> None:
    device = (await identity.register_consumer(OWNER)).device_token
    await outcomes(ask(identity, f"a{n}@example.com", at(1)) for n in range(200))
    assert (await identity.error_of(ask(identity, OWNER, at(1)))).code == "too_many_codes"
    challenge = await ask(identity, OWNER, at(1), device)
    code = await identity.code_to(OWNER)
    strangers = [await ask(identity, OWNER, at(n)) for n in range(10, 20)]
    for stranger in strangers:
        await outcomes(give(identity, stranger, guess, at(12)) for guess in wrong_codes(code, 5))
    error = await identity.error_of(give(identity, strangers[0], code, at(13)))
    assert error.code in ("too_many_tries", "code_invalid")
    assert await give(identity, challenge, code, at(1), device)


async def test_a_known_browser_is_bounded_too(identity: Any, at: Any) -> None:
    device = (await identity.register_consumer(OWNER)).device_token
    before = await mails_to(identity, OWNER)
    assert (await outcomes(ask(identity, OWNER, at(1), device) for _ in range(40)))["too_many"] > 0
    assert await mails_to(identity, OWNER) - before == 5 + 3  # its own, and a stranger's of its network
    challenges = [await ask(identity, OWNER, at(2), device) for _ in range(4)]
    code = await identity.code_to(OWNER)
    guessed = await outcomes(
        give(identity, challenges[n % 4], guess, at(2), device)
        for n, guess in enumerate(wrong_codes(code, 20))
    )
    assert guessed["too_many"] == 10
    identity.clock.advance(timedelta(minutes=6))
    assert await give(identity, challenges[3], code, at(2), device)


async def test_guessing_is_bounded_over_all_accounts_and_networks(identity: Any, at: Any) -> None:
    emails = [f"c{n}@example.com" for n in range(120)]
    challenges = [await ask(identity, email, at(n)) for n, email in enumerate(emails)]
    guessed = await outcomes(
        give(identity, challenges[n], f"{guess:06}", at(n)) for guess in range(5) for n in range(120)
    )
    assert guessed["too_many"] == 600 - 500
    assert guessed[""] == 0


async def test_one_network_guesses_no_more_by_taking_another_address_or_no_challenge(
    identity: Any, issuer: TestIssuer
) -> None:
    voucher = issuer.service_token("bff")
    calls = []
    for n in range(40):
        metadata = ((ADDRESS, f"2001:db8::{n + 1:x}"), (VOUCHER, voucher))
        nothing = pb.Challenge(challenge_id=str(uuid7()))
        calls.append(give(identity, nothing, "000000", metadata))
    assert (await outcomes(calls))["too_many"] == 10


async def test_who_proves_the_address_has_used_up_nothing(identity: Any, at: Any) -> None:
    await identity.register_consumer(OWNER)
    for _ in range(40):
        challenge = await ask(identity, OWNER, at(1))
        assert not challenge.is_earlier_code
        await give(identity, challenge, await identity.code_to(OWNER), at(1))
    identity.clock.advance(timedelta(seconds=1))
    await purge(identity.servicer.database, identity.clock)
    # What registering took is the rest, of who has no address in the test.
    assert len(await identity.fetch("SELECT * FROM allowances")) <= 3


async def test_tries_are_counted_by_the_hour_and_not_written_down(identity: Any, at: Any) -> None:
    await identity.register_consumer(OWNER)
    records = await identity.fetch("SELECT count(*) FROM outbox")
    challenge = await ask(identity, OWNER, at(1))
    for guess in wrong_codes(await identity.code_to(OWNER), 3):
        await identity.error_of(give(identity, challenge, guess, at(1)))
    assert await identity.fetch("SELECT count(*) FROM outbox") == records
    await identity.servicer.tries.flush()
    await identity.servicer.tries.flush()
    answer = await identity.sessions.ListSignInTries(
        session_pb.ListSignInTriesRequest(), metadata=identity.admin
    )
    assert {tries.outcome: tries.count for tries in answer.tries} == {
        "code_mailed": 2,
        "code_wrong": 3,
        "signed_in": 1,
    }


async def test_nothing_that_is_stored_names_who_asked(identity: Any, at: Any) -> None:
    await ask(identity, UNKNOWN, at(1))
    rows = await identity.fetch("SELECT allowance_key FROM allowances")
    assert len(rows) == 5
    assert not any(b"203.0.0" in row["allowance_key"] for row in rows)


@given(
    moments=st.lists(st.integers(0, 7 * 86400), min_size=1, max_size=60).map(sorted),
    size=st.integers(1, 5),
    refill_s=st.integers(1, 7200),
)
def test_no_time_holds_more_than_an_allowance_gives(moments: list[int], size: int, refill_s: int) -> None:
    allowance = Allowance("any", size, timedelta(seconds=refill_s))
    full_at, taken = NOW, []
    for second in moments:
        now = NOW + timedelta(seconds=second)
        then = max(full_at, now) + allowance.refill
        if (wait := allowance.wait(then, now)) is None:
            full_at = then
            taken.append(now)
        else:
            assert wait > timedelta()
            later = now + wait
            assert allowance.wait(max(full_at, later) + allowance.refill, later) is None
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            within = taken[last] - taken[first]
            assert last - first + 1 <= size + within / allowance.refill


@pytest.mark.parametrize("most", [2, 3, 150, 3600])
def test_an_allowance_of_an_hour_is_that_in_any_hour(most: int) -> None:
    allowance = Allowance.per_hour("any", most)
    assert allowance.size + timedelta(hours=1) / allowance.refill <= most + 1e-6


def test_a_device_is_known_for_its_address_until_its_token_ends() -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    device_id = uuid7()
    token = Vault([old]).device_token(OWNER, device_id, NOW + timedelta(days=1))
    vault = Vault([new, old])
    assert vault.device_of(OWNER, ["nonsense", "é", "", token], NOW) == device_id
    assert vault.device_of(UNKNOWN, [token], NOW) is None
    assert vault.device_of(OWNER, [token], NOW + timedelta(days=1)) is None
    assert Vault([new]).device_of(OWNER, [token], NOW) is None
    for changed in (token[:-4] + "AAAA", "B" + token[1:], token[4:]):
        assert vault.device_of(OWNER, [changed], NOW) is None
