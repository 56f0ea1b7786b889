import asyncio
from datetime import timedelta
from typing import Any

import grpc
from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.tokens import TokenVerifier

KNOWN, UNKNOWN = "cora@example.com", "nobody@example.com"


def start(email: str) -> pb.StartSignInRequest:
    return pb.StartSignInRequest(email=email)


def verification(challenge: pb.Challenge, code: str) -> pb.VerifyChallengeRequest:
    return pb.VerifyChallengeRequest(challenge_id=challenge.challenge_id, code=code)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


async def open_challenge(identity: Any) -> tuple[pb.Challenge, str]:
    await identity.register_consumer(KNOWN)
    challenge = await identity.stub.StartSignIn(start(KNOWN))
    return challenge, await identity.code_to(KNOWN)


async def test_the_mailed_code_signs_in(identity: Any) -> None:
    challenge, code = await open_challenge(identity)
    session = await identity.stub.VerifyChallenge(verification(challenge, code))
    assert (session.user.email, list(session.user.roles)) == (KNOWN, [CONSUMER])
    caller = await TokenVerifier(identity.servicer.keyring).verify(session.access_token)
    assert (str(caller.user_id), caller.roles, caller.active_role) == (
        session.user.user_id,
        frozenset({CONSUMER}),
        CONSUMER,
    )
    [*_, record] = await identity.audit_records("sign_in.complete")
    assert (record.actor, record.resource_id) == (session.user.user_id, session.user.user_id)
    assert dict(record.details) == {"purpose": "sign_in"}


async def test_an_address_is_the_same_however_its_letters_are_cased(identity: Any) -> None:
    registered = await identity.register_consumer(KNOWN)
    challenge = await identity.stub.StartSignIn(start("CORA@Example.COM"))
    assert (await identity.verify(challenge, KNOWN)).user.user_id == registered.user.user_id


async def test_an_address_that_only_looks_like_another_is_not_it(identity: Any) -> None:
    await identity.register_consumer("kim@example.com")
    before = await identity.fetch("SELECT mail_id FROM mails")
    await identity.stub.StartSignIn(start("\u212aim@example.com"))  # the Kelvin sign; lower() makes it a k
    assert await identity.fetch("SELECT mail_id FROM mails") == before


async def test_a_code_may_be_typed_in_groups(identity: Any) -> None:
    challenge, code = await open_challenge(identity)
    assert await identity.stub.VerifyChallenge(verification(challenge, f" {code[:3]} {code[3:]}"))


async def test_an_unknown_address_gets_the_same_answer_and_no_mail(identity: Any) -> None:
    await identity.register_consumer(KNOWN)
    known, unknown = [await identity.stub.StartSignIn(start(email)) for email in (KNOWN, UNKNOWN)]
    assert abs(known.expires_at.ToDatetime() - unknown.expires_at.ToDatetime()) < timedelta(minutes=1)
    assert len(known.challenge_id) == len(unknown.challenge_id)
    assert await identity.mail_to(UNKNOWN) is None
    assert await identity.audit_records("sign_in.start") == []


async def test_a_refused_code_looks_the_same_for_every_reason(identity: Any) -> None:
    challenge, code = await open_challenge(identity)
    unknown = await identity.stub.StartSignIn(start(UNKNOWN))
    errors = [
        await identity.error_of(identity.stub.VerifyChallenge(request))
        for request in (
            verification(challenge, wrong(code)),
            verification(challenge, "no digits"),
            verification(unknown, code),
            pb.VerifyChallengeRequest(challenge_id="01a204ec-da16-71e9-ab0f-22ec2f42e9b9", code=code),
        )
    ]
    await identity.stub.VerifyChallenge(verification(challenge, code))
    errors.append(
        await identity.error_of(identity.stub.VerifyChallenge(verification(challenge, code)))
    )  # used
    late = await identity.stub.StartSignIn(start(KNOWN))
    late_code = await identity.code_to(KNOWN)
    identity.clock.advance(timedelta(minutes=10, seconds=1))
    errors.append(await identity.error_of(identity.stub.VerifyChallenge(verification(late, late_code))))
    assert {(e.grpc_code, e.code, e.message) for e in errors} == {
        (grpc.StatusCode.UNAUTHENTICATED, "code_invalid", "This code is not valid. Ask for a new one.")
    }


async def test_a_challenge_is_dead_after_five_wrong_codes(identity: Any) -> None:
    challenge, code = await open_challenge(identity)
    for _ in range(5):
        await identity.error_of(identity.stub.VerifyChallenge(verification(challenge, wrong(code))))
    [row] = await identity.fetch("SELECT attempts FROM challenges WHERE used_at IS NULL")
    assert row["attempts"] == 5
    error = await identity.error_of(identity.stub.VerifyChallenge(verification(challenge, code)))
    assert error.code == "code_invalid"
    [record] = await identity.audit_records("sign_in.complete")
    assert record.resource == "user"  # of registering: wrong codes are counted, not written down


async def test_guesses_that_come_at_once_get_no_more_than_five_attempts(identity: Any) -> None:
    challenge, code = await open_challenge(identity)
    guesses = [identity.stub.VerifyChallenge(verification(challenge, wrong(code))) for _ in range(20)]
    await asyncio.gather(*(identity.error_of(guess) for guess in guesses))
    [row] = await identity.fetch("SELECT attempts FROM challenges WHERE used_at IS NULL")
    assert row["attempts"] == 5


async def test_of_two_right_codes_at_once_one_signs_in(identity: Any) -> None:
    challenge, code = await open_challenge(identity)
    calls = [identity.stub.VerifyChallenge(verification(challenge, code)) for _ in range(4)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(answer, pb.Session) for answer in answers].count(True) == 1


async def test_codes_that_were_proven_count_against_nobody(identity: Any) -> None:
    await identity.register_consumer(KNOWN)
    for _ in range(7):
        await identity.sign_in(KNOWN)


async def test_neither_codes_nor_tokens_lie_in_the_database_in_the_clear(identity: Any) -> None:
    challenge, code = await open_challenge(identity)
    tables = ("challenges", "mails", "sessions", "refresh_tokens", "invites", "outbox")
    dump = [str(await identity.fetch(f"SELECT t::text FROM {table} t")) for table in tables]
    assert code.encode().hex() not in "".join(dump)
    assert f"({code}" not in "".join(dump) and f",{code}" not in "".join(dump)
    session = await identity.stub.VerifyChallenge(verification(challenge, code))
    dump = [str(await identity.fetch(f"SELECT t::text FROM {table} t")) for table in tables]
    assert session.refresh_token.encode().hex() not in "".join(dump)
    assert session.refresh_token not in "".join(dump)
