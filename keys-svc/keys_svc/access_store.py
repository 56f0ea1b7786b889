"""What is asked about access: what each query is, access.sql says."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ams_common.queries import QueryStore, column, many, one, page, run, value

from keys_svc.access_requests import AccessRequest
from keys_svc.grants import Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """Who decides requests for a service; a row of services. `merchant_id` None: it isn't known yet."""

    service_id: UUID
    merchant_id: UUID | None
    merchant_approves: bool
    name: str
    slug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConsumer:
    """A consumer's latest grant for a service, and what the merchant has set for it."""

    grant_id: UUID
    consumer_id: UUID
    service_id: UUID
    granted_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    end_reason: str
    blocked_at: datetime | None
    block_reason: str
    per_minute: int
    per_day: int
    per_month: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKey:
    """A key for a service. `revoked_at`: when the merchant has taken it that service."""

    key_id: UUID
    service_id: UUID
    is_test: bool
    created_at: datetime
    expires_at: datetime
    key_revoked_at: datetime | None
    disabled_at: datetime | None
    revoked_at: datetime | None


class AccessStore(QueryStore, package="keys_svc", file="access.sql"):
    """See Store for what is locked while any of this is changed."""

    add_access_request = one(AccessRequest)
    find_access_request = one(AccessRequest)
    lock_access_request = one(AccessRequest)
    find_seen_request = one(AccessRequest)
    resolve_access_request = one(AccessRequest)
    withdraw_project_requests = run()
    list_access_requests = page(AccessRequest)
    list_consumer_access_requests = page(AccessRequest)
    list_merchant_access_requests = page(AccessRequest)
    hand_over_requests = run()

    is_granted = value(bool)
    add_grant = run()
    ungranted = column(UUID)
    granted_services = column(UUID)
    find_grant = one(Grant)
    find_seen_grant = one(Grant)
    end_grant = one(Grant)
    end_project_grants = run()
    end_service_grants = many(Grant)
    hand_over_grants = run()
    list_consumer_grants = page(Grant)
    list_grants_of_consumer = page(Grant)
    list_grants_of_service = page(Grant)

    find_access_policy = one(AccessPolicy)
    find_access_policies = many(AccessPolicy)
    set_access_policy = one(AccessPolicy)

    list_service_consumers = page(ServiceConsumer)
    find_service_consumers = many(ServiceConsumer)
    list_consumers_of_merchant = column(UUID)
    set_block = run()
    set_limits = run()
    is_blocked = value(bool)
    list_service_keys = many(ServiceKey)
    revoke_service_key = run()
