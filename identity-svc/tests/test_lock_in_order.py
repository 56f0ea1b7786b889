"""Changes that meet on the same rows wait for each other, and never in a circle (docs/locks.md)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pyotp
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import profile_service_pb2 as profile_pb
from ams.identity.v1 import project_service_pb2 as project_pb
from ams.identity.v1 import second_factor_service_pb2 as factor_pb
from ams.identity.v1 import session_service_pb2 as session_pb
from ams.identity.v1 import team_service_pb2 as team_pb
from ams.identity.v1 import token_service_pb2 as token_pb
from ams.identity.v1.events_pb2 import PROJECT_MANAGER, PROJECT_MEMBER, PROJECT_VIEWER
from ams.identity.v1.project_service_pb2_grpc import ProjectServiceStub
from ams.identity.v1.second_factors_pb2 import SecondFactorProof
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER
from ams_common.client import invoke
from ams_common.database import Database
from ams_common.errors import FailedPreconditionError
from ams_common.ids import uuid7
from ams_common.testing.meetings import begin, held, mingle
from ams_common.testing.plugin import Serve
from identity_svc.projects.store import ProjectStore
from identity_svc.rpc import services_of
from identity_svc.store import Store

pytestmark = pytest.mark.usefixtures("no_deadlock")

EMAIL, OTHER_EMAIL = "cora@example.com", "otto@example.com"
VERSIONS = "SELECT pg_advisory_xact_lock(hashtextextended('standing versions of ' || current_schema(), 0))"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database[Store]]:
    """With a connection for each caller."""
    async with Database.open(database_url, Store, size=20) as opened:
        yield opened


async def make_admin(identity: Any, email: str) -> UUID:
    rows = await identity.fetch(
        "INSERT INTO user_roles (user_id, role, granted_at)"
        " SELECT user_id, 'admin', now() FROM users WHERE email = $1 RETURNING user_id",
        email,
    )
    user_id: UUID = rows[0]["user_id"]
    return user_id


async def test_an_admin_is_dismissed_and_blocked_at_once(identity: Any, database: Database[Store]) -> None:
    """Both raise the person's generation of tokens, and draw a version."""
    for email in (EMAIL, OTHER_EMAIL):
        await identity.register_consumer(email)
    user_id, other_id = await make_admin(identity, EMAIL), await make_admin(identity, OTHER_EMAIL)
    dismiss = team_pb.DismissAdminRequest(user_id=str(user_id))
    block = pb.BlockConsumerRequest(consumer_id=str(user_id))
    token = identity.issuer.user_token(other_id, ADMIN)
    async with held(database, VERSIONS):
        calls = await begin(
            database,
            invoke(identity.team.DismissAdmin, dismiss, token=token, timeout_s=30),
            invoke(identity.stub.BlockConsumer, block, token=token, timeout_s=30),
        )
    dismissed, blocked = await asyncio.gather(*calls)
    assert dismissed.user_id == blocked.consumer_id == str(user_id)


async def test_an_invite_is_sent_again_while_its_code_is_given_back(
    identity: Any, database: Database[Store]
) -> None:
    challenge = await identity.start_merchant(EMAIL, await identity.invite(EMAIL))
    [invite] = await identity.fetch("SELECT invite_id::text FROM invites")
    code = await identity.code_to(EMAIL)
    verify = pb.VerifyChallengeRequest(challenge_id=challenge.challenge_id, code=code)
    resend = pb.ResendInviteRequest(invite_id=invite["invite_id"])
    admin = identity.issuer.user_token(uuid7(), ADMIN)
    async with held(database, "SELECT FROM codes FOR UPDATE"):
        verifying, resending = await begin(
            database,
            invoke(identity.stub.VerifyChallenge, verify, timeout_s=30),
            invoke(identity.stub.ResendInvite, resend, token=admin, timeout_s=30),
        )
    assert (await verifying).access_token
    with pytest.raises(FailedPreconditionError, match="accepted already"):
        await resending


async def test_a_factor_is_removed_while_somebody_signs_in_with_it(
    identity: Any, database: Database[Store]
) -> None:
    session = await identity.register_consumer(EMAIL)
    metadata = identity.acting(session)
    bearer = metadata[0][1].removeprefix("Bearer ")
    secret = (await identity.factors.StartTotp(factor_pb.StartTotpRequest(), metadata=metadata)).secret
    totp = pyotp.TOTP(secret)
    confirm = factor_pb.ConfirmTotpRequest(totp_code=totp.at(identity.clock()))
    await identity.factors.ConfirmTotp(confirm, metadata=metadata)
    identity.clock.advance(timedelta(minutes=1))
    asked = (await identity.sign_in(EMAIL)).second_factor
    proof = SecondFactorProof(totp_code=totp.at(identity.clock()))
    complete = factor_pb.CompleteSignInRequest(challenge_id=asked.challenge_id, proof=proof)
    async with held(database, "SELECT FROM totp_secrets FOR UPDATE"):
        calls = await begin(
            database,
            invoke(identity.factors.CompleteSignIn, complete, timeout_s=30),
            invoke(identity.factors.RemoveTotp, factor_pb.RemoveTotpRequest(), token=bearer, timeout_s=30),
        )
    signed_in, left = await asyncio.gather(*calls)
    assert signed_in.access_token and not left.has_totp


async def test_sessions_end_each_other(identity: Any) -> None:
    sessions = [await identity.register_consumer(EMAIL)] + [await identity.sign_in(EMAIL) for _ in range(7)]
    request = session_pb.EndOtherSessionsRequest()
    await asyncio.gather(
        *(
            identity.sessions.EndOtherSessions(request, metadata=identity.acting(each))
            for each in sessions * 3
        )
    )
    assert await identity.fetch("SELECT FROM sessions WHERE ended_at IS NOT NULL")


async def test_sixteen_at_once_change_one_person_and_one_project(
    identity: Any, servicer: Any, serve_rpc: Serve, database: Database[Store]
) -> None:
    session = await identity.register_consumer(EMAIL)
    other = await identity.register_consumer(OTHER_EMAIL)
    [(service, add)] = [each for each in services_of(servicer) if each[0].name == "ProjectService"]
    projects = ProjectServiceStub(await serve_rpc(service, add))
    ids = [UUID(each.user.user_id) for each in (session, other)]
    owner, member = (identity.issuer.user_token(user_id, CONSUMER) for user_id in ids)
    admin = identity.issuer.user_token(ids[1], ADMIN)
    project = await invoke(projects.CreateProject, project_pb.CreateProjectRequest(name="Maps"), token=owner)
    async with database.change_by_system("set up", audited=False) as change:
        await ProjectStore(change.connection).insert_member(
            project_id=UUID(project.project_id),
            user_id=ids[1],
            role=PROJECT_MANAGER,
            service_ids=[],
            now=identity.clock(),
        )
    named = {"project_id": project.project_id}
    person, colleague = map(str, ids)

    def call(method: Any, request: Any, token: str | None) -> Any:
        return partial(invoke, method, request, token=token)

    async def make_and_revoke_token() -> None:
        request = token_pb.CreateTokenRequest(name="ci", role=CONSUMER, scope=token_pb.TOKEN_READ, ttl_days=1)
        made = await invoke(identity.tokens.CreateToken, request, token=owner)
        revoke = token_pb.RevokeTokenRequest(token_id=made.token.token_id)
        await invoke(identity.tokens.RevokeToken, revoke, token=owner)

    async def sign_in_and_end_others() -> None:
        signed_in = await identity.sign_in(EMAIL)
        [(_, bearer)] = identity.acting(signed_in)
        request = session_pb.EndOtherSessionsRequest()
        await invoke(identity.sessions.EndOtherSessions, request, token=bearer.removeprefix("Bearer "))

    roles = (PROJECT_MEMBER, PROJECT_VIEWER, PROJECT_MANAGER)
    invite = project_pb.CreateProjectInvitationRequest(email="ivo@example.com", role=PROJECT_VIEWER, **named)
    done = await mingle(
        [
            call(identity.stub.BlockConsumer, pb.BlockConsumerRequest(consumer_id=person), admin),
            call(identity.stub.UnblockConsumer, pb.UnblockConsumerRequest(consumer_id=person), admin),
            call(identity.profiles.UpdateMe, profile_pb.UpdateMeRequest(name="Cora"), owner),
            make_and_revoke_token,
            sign_in_and_end_others,
            call(
                identity.stub.RefreshSession,
                pb.RefreshSessionRequest(refresh_token=session.refresh_token),
                None,
            ),
            call(projects.UpdateProject, project_pb.UpdateProjectRequest(name="Maps", **named), owner),
            call(projects.CreateProjectInvitation, invite, owner),
            *(
                call(
                    projects.UpdateProjectMember,
                    project_pb.UpdateProjectMemberRequest(user_id=colleague, role=role, **named),
                    owner,
                )
                for role in roles
            ),
            call(projects.OfferProject, project_pb.OfferProjectRequest(user_id=colleague, **named), owner),
            call(projects.AcceptProjectOffer, project_pb.AcceptProjectOfferRequest(**named), member),
            call(projects.CreateProject, project_pb.CreateProjectRequest(name="More"), owner),
        ]
    )
    assert done
