"""The messages that identity-svc makes of its rows. Most take a row's columns by their names."""

from datetime import datetime
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as pb
from ams.policy.v1.policy_pb2 import Role
from ams_common.clock import to_timestamp

from identity_svc.records import Account
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


def invite_message(
    *,
    invite_id: UUID,
    email: str,
    note: str,
    created_at: datetime,
    expires_at: datetime,
    accepted_at: datetime | None,
) -> pb.Invite:
    return pb.Invite(
        invite_id=str(invite_id),
        email=email,
        note=note,
        created_at=to_timestamp(created_at),
        expires_at=to_timestamp(expires_at),
        accepted_at=to_timestamp(accepted_at),
    )
