import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import STANDING_ACTIVE
from ams.policy.v1.policy_pb2 import CONSUMER, MERCHANT

EMAIL = "cora@example.com"


async def emails(identity: Any) -> list[str]:
    return [row["email"] for row in await identity.fetch("SELECT email FROM users ORDER BY email")]


async def test_a_consumer_registers_by_proving_the_address(identity: Any) -> None:
    request = pb.RegisterConsumerRequest(email="Cora@Example.com", name="  Cora   Müller ")
    challenge = await identity.stub.RegisterConsumer(request)
    assert await emails(identity) == []  # not before the code is proven
    session = await identity.verify(challenge, EMAIL)
    assert (session.user.email, session.user.name) == (EMAIL, "Cora Müller")
    assert (list(session.user.roles), session.user.active_role) == ([CONSUMER], CONSUMER)
    [event] = await identity.events()
    assert event.consumer_changed.consumer_id == session.user.user_id
    assert event.consumer_changed.standing == STANDING_ACTIVE
    [record] = await identity.audit_records("sign_in.complete")
    assert (record.actor, dict(record.details)) == (session.user.user_id, {"purpose": "register_consumer"})


async def test_registering_again_is_answered_alike_and_signs_in(identity: Any) -> None:
    first = await identity.register_consumer(EMAIL)
    again = await identity.register_consumer(EMAIL, name="Somebody Else")
    assert (again.user.user_id, again.user.name) == (first.user.user_id, "Cora")
    assert len(await identity.events()) == 1


async def test_one_account_holds_both_roles(identity: Any) -> None:
    consumer = await identity.register_consumer(EMAIL)
    merchant = await identity.register_merchant(EMAIL)
    assert merchant.user.user_id == consumer.user.user_id
    assert (list(merchant.user.roles), merchant.user.active_role) == ([MERCHANT, CONSUMER], MERCHANT)
    assert await emails(identity) == [EMAIL]


async def test_one_address_registered_twice_at_once_is_one_account(identity: Any) -> None:
    request = pb.RegisterConsumerRequest(email=EMAIL, name="Cora")
    verifications = []
    for _ in range(4):
        challenge = await identity.stub.RegisterConsumer(request)
        code = await identity.code_to(EMAIL)
        verifications.append(pb.VerifyChallengeRequest(challenge_id=challenge.challenge_id, code=code))
    calls = (identity.stub.VerifyChallenge(verification) for verification in verifications)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    # They share a code, which is good once.
    assert [isinstance(answer, pb.Session) for answer in answers].count(True) == 1
    assert await emails(identity) == [EMAIL]
    assert len(await identity.events()) == 1


async def test_a_merchant_registers_with_an_invite(identity: Any) -> None:
    session = await identity.register_merchant("mia@example.com", "Überland Geo, Inc.")
    assert (list(session.user.roles), session.user.active_role) == ([MERCHANT], MERCHANT)
    [event] = await identity.events()
    merchant = event.merchant_changed
    assert (merchant.display_name, merchant.slug, merchant.standing) == (
        "Überland Geo, Inc.",
        "uberland-geo-inc",
        STANDING_ACTIVE,
    )
    [invite] = (await identity.stub.ListInvites(pb.ListInvitesRequest(), metadata=identity.admin)).invites
    assert invite.HasField("accepted_at")


async def test_companies_of_one_name_get_different_slugs(identity: Any) -> None:
    for number in range(3):
        await identity.register_merchant(f"m{number}@example.com", "Geo Ltd")
    rows = await identity.fetch("SELECT slug FROM merchant_profiles ORDER BY slug")
    assert [row["slug"] for row in rows] == ["geo-ltd", "geo-ltd-2", "geo-ltd-3"]


async def test_companies_that_register_at_once_get_different_slugs(identity: Any) -> None:
    # So many that calls which wait for each other's locks in a circle are seen, too.
    addresses = [f"m{number}@example.com" for number in range(16)]
    await asyncio.gather(*(identity.register_merchant(email, "Geo Ltd") for email in addresses))
    rows = await identity.fetch("SELECT DISTINCT slug FROM merchant_profiles")
    assert len(rows) == 16


async def test_an_invite_is_good_for_its_own_address_once_and_in_time(identity: Any) -> None:
    code = await identity.invite("mia@example.com")
    wrong_code = await identity.error_of(
        identity.start_merchant("mia@example.com", "0000-0000-0000-0000-0000")
    )
    wrong_address = await identity.error_of(identity.start_merchant("eve@example.com", code))
    await identity.verify(await identity.start_merchant("mia@example.com", code), "mia@example.com")
    used = await identity.error_of(identity.start_merchant("mia@example.com", code))
    late_code = await identity.invite("leo@example.com")
    identity.clock.advance(timedelta(days=14, seconds=1))
    late = await identity.error_of(identity.start_merchant("leo@example.com", late_code))
    assert {(e.grpc_code, e.code, e.message) for e in (wrong_code, wrong_address, used, late)} == {
        (
            grpc.StatusCode.FAILED_PRECONDITION,
            "invite_not_valid",
            "This invite is not valid for this address.",
        )
    }


async def test_an_invite_code_may_be_typed_carelessly(identity: Any) -> None:
    code = await identity.invite("mia@example.com")
    assert await identity.start_merchant("MIA@example.com", code.lower().replace("-", " ").replace("0", "o"))


async def test_an_invite_that_expires_before_the_code_is_proven_makes_no_account(identity: Any) -> None:
    code = await identity.invite("mia@example.com")
    identity.clock.advance(timedelta(days=13, hours=23, minutes=55))
    challenge = await identity.start_merchant("mia@example.com", code)
    identity.clock.advance(timedelta(minutes=6))
    error = await identity.error_of(identity.verify(challenge, "mia@example.com"))
    assert error.code == "invite_not_valid"
    assert await emails(identity) == [] and await identity.events() == []


async def test_two_registrations_with_one_invite_make_one_merchant(identity: Any) -> None:
    code = await identity.invite("mia@example.com")
    verifications = []
    for number in range(3):
        challenge = await identity.start_merchant("mia@example.com", code, f"Company {number}")
        mailed = await identity.code_to("mia@example.com")
        verifications.append(pb.VerifyChallengeRequest(challenge_id=challenge.challenge_id, code=mailed))
    answers = await asyncio.gather(
        *(identity.stub.VerifyChallenge(v) for v in verifications), return_exceptions=True
    )
    sessions = [answer for answer in answers if isinstance(answer, pb.Session)]
    assert sessions and len({session.user.user_id for session in sessions}) == 1
    assert len(await identity.fetch("SELECT 1 FROM merchant_profiles")) == 1
    assert len(await identity.events()) == 1


@pytest.mark.parametrize("name", ["two\nlines", "carriage\rreturn", "tab\tbed", "\u202edesrever", "a\u2028b"])
async def test_names_are_one_honest_line(identity: Any, name: str) -> None:
    error = await identity.error_of(
        identity.stub.RegisterConsumer(pb.RegisterConsumerRequest(email=EMAIL, name=name))
    )
    assert (error.grpc_code, error.violations[0].field) == (grpc.StatusCode.INVALID_ARGUMENT, "name")
    code = await identity.invite("mia@example.com")
    error = await identity.error_of(identity.start_merchant("mia@example.com", code, company_name=name))
    assert (error.grpc_code, error.violations[0].field) == (grpc.StatusCode.INVALID_ARGUMENT, "companyName")
