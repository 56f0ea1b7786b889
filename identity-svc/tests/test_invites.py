import hashlib
from typing import Any

import grpc
from ams.identity.v1 import identity_service_pb2 as pb

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
    assert (record.resource_id, dict(record.details)) == (invite.invite_id, {"email": EMAIL})


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
