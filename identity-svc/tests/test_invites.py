import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import grpc
from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import MERCHANT
from ams_common.ids import uuid7

EMAIL = "mia@example.com"


async def test_an_invite_is_mailed_with_its_code_and_a_link(identity: Any) -> None:
    request = pb.CreateInviteRequest(email="Mia@Example.com", note="met at the fair")
    invite = await identity.stub.CreateInvite(request, metadata=identity.admin)
    assert (invite.email, invite.note) == (EMAIL, "met at the fair")
    assert not invite.HasField("accepted_at")
    mail = await identity.mail_to(EMAIL)
    assert mail is not None
    assert mail["link"] == (
        f"https://ams.example/register/merchant?invite_code={mail['code']}&email=mia%40example.com"
    )
    [record] = await identity.audit_records("invite.create")
    assert (record.resource_id, dict(record.details)) == (
        invite.invite_id,
        {"email": EMAIL, "role": "merchant"},
    )


async def test_only_the_hash_of_a_code_is_kept(identity: Any) -> None:
    code = await identity.invite(EMAIL)
    [row] = await identity.fetch("SELECT code_hash, t::text AS text FROM invites t")
    assert row["code_hash"] == hashlib.sha256(code.replace("-", "").encode()).digest()
    assert code not in row["text"]


async def test_an_idempotency_key_invites_once(identity: Any) -> None:
    request = pb.CreateInviteRequest(email=EMAIL, idempotency_key="k-1")
    first = await identity.stub.CreateInvite(request, metadata=identity.admin)
    again = await identity.stub.CreateInvite(request, metadata=identity.admin)
    assert first == again
    assert len(await identity.fetch("SELECT 1 FROM invites")) == 1
    assert len(await identity.fetch("SELECT 1 FROM mails")) == 1


async def test_who_is_a_merchant_is_not_invited(identity: Any) -> None:
    await identity.register_merchant(EMAIL)
    request = pb.CreateInviteRequest(email="MIA@example.com")
    error = await identity.error_of(identity.stub.CreateInvite(request, metadata=identity.admin))
    assert (error.grpc_code, error.code) == (grpc.StatusCode.FAILED_PRECONDITION, "already_a_merchant")


async def test_invites_are_listed_newest_first_page_by_page(identity: Any) -> None:
    for number in range(5):
        await identity.invite(f"m{number}@example.com")
    seen, token = [], ""
    while True:
        request = pb.ListInvitesRequest(page_size=2, page_token=token)
        page = await identity.stub.ListInvites(request, metadata=identity.admin)
        seen += [invite.email for invite in page.invites]
        if not (token := page.next_page_token):
            break
    assert seen == [f"m{number}@example.com" for number in reversed(range(5))]


async def listed(identity: Any, **filters: Any) -> dict[str, int]:
    answer = await identity.stub.ListInvites(pb.ListInvitesRequest(**filters), metadata=identity.admin)
    return {invite.email: invite.state for invite in answer.invites}


async def only_invite(identity: Any) -> str:
    [row] = await identity.fetch("SELECT invite_id::text FROM invites")
    return str(row["invite_id"])


def revoke(identity: Any, invite_id: str) -> Any:
    return identity.stub.RevokeInvite(pb.RevokeInviteRequest(invite_id=invite_id), metadata=identity.admin)


def resend(identity: Any, invite_id: str) -> Any:
    return identity.stub.ResendInvite(pb.ResendInviteRequest(invite_id=invite_id), metadata=identity.admin)


async def test_each_invite_shows_what_has_become_of_it(identity: Any) -> None:
    await identity.invite("expired@example.com")
    identity.clock.advance(timedelta(days=14))
    await identity.register_merchant("accepted@example.com")
    await identity.invite("revoked@example.com")
    [row] = await identity.fetch("SELECT invite_id::text FROM invites WHERE email = 'revoked@example.com'")
    await revoke(identity, row["invite_id"])
    await identity.invite("open@example.com")
    assert await listed(identity) == {
        "open@example.com": pb.INVITE_OPEN,
        "revoked@example.com": pb.INVITE_REVOKED,
        "accepted@example.com": pb.INVITE_ACCEPTED,
        "expired@example.com": pb.INVITE_EXPIRED,
    }


async def test_a_revoked_code_registers_nobody_even_where_it_was_begun(identity: Any) -> None:
    code = await identity.invite(EMAIL)
    challenge = await identity.start_merchant(EMAIL, code)
    revoked = await revoke(identity, await only_invite(identity))
    assert (revoked.state, revoked.HasField("revoked_at")) == (pb.INVITE_REVOKED, True)
    assert (await identity.error_of(identity.start_merchant(EMAIL, code))).code == "invite_not_valid"
    assert (await identity.error_of(identity.verify(challenge, EMAIL))).code == "invite_not_valid"
    [record] = await identity.audit_records("invite.revoke")
    assert dict(record.details) == {"email": EMAIL, "role": "merchant"}


async def test_an_invite_sent_again_has_a_new_code_and_the_old_one_is_dead(identity: Any) -> None:
    old = await identity.invite(EMAIL)
    challenge = await identity.start_merchant(EMAIL, old)
    otp = await identity.code_to(EMAIL)
    identity.clock.advance(timedelta(days=13))
    again = await resend(identity, await only_invite(identity))
    new = await identity.code_to(EMAIL)
    assert new != old
    assert again.expires_at.ToDatetime() - again.sent_at.ToDatetime() == timedelta(days=14)
    assert (await identity.error_of(identity.start_merchant(EMAIL, old))).code == "invite_not_valid"
    begun = pb.VerifyChallengeRequest(challenge_id=challenge.challenge_id, code=otp)
    assert (await identity.error_of(identity.stub.VerifyChallenge(begun))).code == "code_invalid"
    identity.clock.advance(timedelta(days=2))  # the old one would have expired by now
    session = await identity.verify(await identity.start_merchant(EMAIL, new), EMAIL)
    assert list(session.user.roles) == [MERCHANT]


async def test_an_expired_invite_may_be_sent_again(identity: Any) -> None:
    await identity.invite(EMAIL)
    identity.clock.advance(timedelta(days=15))
    assert (await resend(identity, await only_invite(identity))).state == pb.INVITE_OPEN


async def test_what_is_over_is_neither_revoked_nor_sent_again(identity: Any) -> None:
    await identity.register_merchant(EMAIL)
    invite_id = await only_invite(identity)
    for act in (revoke, resend):
        assert (await identity.error_of(act(identity, invite_id))).code == "invite_accepted"
    await identity.invite("bob@example.com")
    [row] = await identity.fetch("SELECT invite_id::text FROM invites WHERE accepted_at IS NULL")
    await revoke(identity, row["invite_id"])
    for act in (revoke, resend):
        assert (await identity.error_of(act(identity, row["invite_id"]))).code == "invite_revoked"
    for act in (revoke, resend):
        assert (await identity.error_of(act(identity, str(uuid7())))).code == "invite_not_found"
        assert (await identity.error_of(act(identity, "x"))).code == "invalid_argument"


async def test_of_revoking_and_registering_at_once_one_wins(identity: Any) -> None:
    for number in range(5):
        email = f"m{number}@example.com"
        challenge = await identity.start_merchant(email, await identity.invite(email), f"Geo {number}")
        [row] = await identity.fetch("SELECT invite_id::text FROM invites WHERE email = $1", email)
        outcomes = await asyncio.gather(
            identity.verify(challenge, email), revoke(identity, row["invite_id"]), return_exceptions=True
        )
        assert sum(isinstance(outcome, Exception) for outcome in outcomes) == 1, outcomes
