"""The messages that identity-svc makes of its rows. Most take a row's columns by their names."""

from datetime import datetime
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import Role
from ams_common.clock import to_timestamp

from identity_svc.pictures import picture_path
from identity_svc.records import Account, Invite
from identity_svc.roles import ordered_roles, role_of, standing_of


def user_message(account: Account, active: Role.ValueType) -> pb.User:
    return pb.User(
        user_id=str(account.user_id),
        email=account.email,
        name=account.name,
        roles=ordered_roles(account.roles),
        active_role=active,
        created_at=to_timestamp(account.created_at),
        merchant_standing=standing_of(account.merchant_standing),
        consumer_standing=standing_of(account.consumer_standing),
        merchant_standing_since=to_timestamp(account.merchant_standing_since),
        consumer_standing_since=to_timestamp(account.consumer_standing_since),
        avatar_url=picture_path(account.picture_id),
    )


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
