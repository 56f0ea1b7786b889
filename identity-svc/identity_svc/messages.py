"""The messages that identity-svc makes of its rows. Most take a row's columns by their names."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import notifications_service_pb2 as notifications_pb
from ams.identity.v1 import second_factor_service_pb2 as factor_pb
from ams.identity.v1 import session_service_pb2 as session_pb
from ams.identity.v1 import token_service_pb2 as token_pb
from ams.identity.v1.token_ends_pb2 import TokenEnd
from ams.policy.v1.policy_pb2 import Role
from ams_common.clock import to_timestamp

from identity_svc.pictures import picture_path
from identity_svc.records import Account, Invite, ListedSession, StoredPasskey
from identity_svc.roles import ordered_roles, role_of, standing_of


def passkey_message(passkey: StoredPasskey) -> factor_pb.Passkey:
    return factor_pb.Passkey(
        passkey_id=str(passkey.passkey_id),
        name=passkey.name,
        created_at=to_timestamp(passkey.created_at),
        last_used_at=to_timestamp(passkey.last_used_at),
    )


def user_message(
    account: Account,
    active: Role.ValueType,
    held: Sequence[Role.ValueType] | None = None,
    needs_second_factor: bool = False,
) -> pb.User:
    """`held`: the roles that it may act in as it has signed in, if they aren't all that are its."""
    return pb.User(
        user_id=str(account.user_id),
        email=account.email,
        name=account.name,
        roles=held if held is not None else ordered_roles(account.roles),
        needs_second_factor=needs_second_factor,
        active_role=active,
        created_at=to_timestamp(account.created_at),
        merchant_standing=standing_of(account.merchant_standing),
        consumer_standing=standing_of(account.consumer_standing),
        merchant_standing_since=to_timestamp(account.merchant_standing_since),
        consumer_standing_since=to_timestamp(account.consumer_standing_since),
        avatar_url=picture_path(account.picture_id),
    )


def active_session_message(session: ListedSession, is_current: bool) -> session_pb.ActiveSession:
    return session_pb.ActiveSession(
        session_id=str(session.session_id),
        device=session.device,
        client_address=session.client_address,
        signed_in_at=to_timestamp(session.created_at),
        last_used_at=to_timestamp(session.last_used_at),
        expires_at=to_timestamp(session.expires_at),
        is_current=is_current,
    )


def sign_in_tries_message(*, hour: datetime, outcome: str, tries: int) -> session_pb.SignInTries:
    return session_pb.SignInTries(hour=to_timestamp(hour), outcome=outcome, count=tries)


def undelivered_mail_message(
    *,
    mail_id: UUID,
    recipient: str,
    template: str,
    given_up_for: str | None,
    last_error: str | None,
    attempts: int,
    created_at: datetime,
    finished_at: datetime,
) -> notifications_pb.UndeliveredMail:
    return notifications_pb.UndeliveredMail(
        mail_id=str(mail_id),
        recipient=recipient,
        kind=template,
        given_up_for=given_up_for or "",
        error=last_error or "",
        attempts=attempts,
        queued_at=to_timestamp(created_at),
        given_up_at=to_timestamp(finished_at),
    )


def personal_token_message(
    *,
    token_id: UUID,
    name: str,
    token_prefix: str,
    role: str,
    is_read_only: bool,
    created_at: datetime,
    expires_at: datetime,
    last_used_at: datetime | None,
    revoked_at: datetime | None,
) -> token_pb.PersonalAccessToken:
    return token_pb.PersonalAccessToken(
        token_id=str(token_id),
        name=name,
        token_prefix=token_prefix,
        role=role_of(role),
        scope=token_pb.TOKEN_READ if is_read_only else token_pb.TOKEN_WRITE,
        created_at=to_timestamp(created_at),
        expires_at=to_timestamp(expires_at),
        last_used_at=to_timestamp(last_used_at),
        revoked_at=to_timestamp(revoked_at),
    )


def token_end_message(
    *,
    version: int,
    ended_at: datetime,
    credential: str | None,
    user_id: UUID | None,
    generation: int | None,
) -> TokenEnd:
    """Either of a credential, or of those of a person below a generation."""
    end = TokenEnd(version=version, ended_at=to_timestamp(ended_at))
    if credential is not None:
        end.credential = credential
    else:
        end.older_tokens.user_id, end.older_tokens.generation = str(user_id), generation or 0
    return end


def merchant_message(
    *, user_id: UUID, email: str, name: str, company_name: str, slug: str, standing: str, granted_at: datetime
) -> pb.Merchant:
    return pb.Merchant(
        merchant_id=str(user_id),
        email=email,
        name=name,
        company_name=company_name,
        slug=slug,
        standing=standing_of(standing),
        registered_at=to_timestamp(granted_at),
    )


def consumer_message(
    *, user_id: UUID, email: str, name: str, standing: str, granted_at: datetime
) -> pb.Consumer:
    return pb.Consumer(
        consumer_id=str(user_id),
        email=email,
        name=name,
        standing=standing_of(standing),
        registered_at=to_timestamp(granted_at),
    )


def standing_change_message(*, user_id: UUID, role: str, standing: str, version: int) -> pb.StandingChange:
    return pb.StandingChange(
        user_id=str(user_id), role=role_of(role), standing=standing_of(standing), version=version
    )


def invite_message(invite: Invite, now: datetime) -> pb.Invite:
    return pb.Invite(
        invite_id=str(invite.invite_id),
        role=role_of(invite.role),
        email=invite.email,
        note=invite.note,
        state=invite.state(now),
        created_at=to_timestamp(invite.created_at),
        sent_at=to_timestamp(invite.sent_at),
        expires_at=to_timestamp(invite.expires_at),
        accepted_at=to_timestamp(invite.accepted_at),
        revoked_at=to_timestamp(invite.revoked_at),
    )
