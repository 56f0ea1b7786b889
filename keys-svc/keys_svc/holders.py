"""Whom a key or a grant belongs to: a person, or a project whose members have roles in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from ams.identity.v1.events_pb2 import ProjectRole
from ams_common.clock import utc_now
from ams_common.errors import FailedPreconditionError
from ams_common.etags import check_etag
from ams_common.project_rights import ProjectRight, may
from ams_common.projects import Member, Membership, find_membership, require_right, right_required

from keys_svc import standing
from keys_svc.consumers import Consumer
from keys_svc.keys import Key, found, require_unrevoked
from keys_svc.messages import key_message
from keys_svc.store import Store


@dataclass(frozen=True, slots=True)
class Holder:
    """`consumer` pays, and is locked. `member` is what the caller is in the project; None: it is the caller's
    own."""

    consumer: Consumer
    project_id: UUID | None = None
    member: Member | None = None

    @property
    def holder_id(self) -> UUID:
        return self.project_id or self.consumer.consumer_id

    def may_use(self, service_id: UUID) -> bool:
        return self.member is None or self.member.may_use(service_id)


async def lock_holder(store: Store, user_id: UUID, project_id: UUID | None, right: ProjectRight) -> Holder:
    """For what the person may do in the project, or for itself. Everybody concerned must be in good standing.

    Raises NotFoundError project_not_found, PermissionDeniedError project_right_required or consumer_blocked,
    FailedPreconditionError project_closed.
    """
    if project_id is None:
        consumer = await store.lock_consumer(user_id)
        standing.require_active(consumer.standing)
        return Holder(consumer)
    membership = await require_right(store.connection, project_id, user_id, right)
    consumer = await store.lock_consumer(membership.owner_id)
    # Again, under the lock: somebody who is being removed makes no key on the way out.
    membership = await require_right(store.connection, project_id, user_id, right)
    _require_owner(membership, consumer)
    if membership.is_closed:
        raise FailedPreconditionError("project_closed", "This project is closed.")
    standing.require_active(consumer.standing)
    standing.require_active((await store.find_consumer(user_id)).standing)
    return Holder(consumer, project_id, membership.member)


class KeyRequest(Protocol):
    """A request to change a key that has this etag; "": whichever it has."""

    key_id: str
    etag: str


async def lock_key(
    store: Store, request: KeyRequest, user_id: UUID, any_right: ProjectRight = ProjectRight.CHANGE_ANY_KEYS
) -> tuple[Consumer, Key]:
    """A key that the person may change, and who pays for it, locked.

    Raises NotFoundError for a key that the person can't see, PermissionDeniedError project_right_required for
    one that its role doesn't let it change, FailedPreconditionError key_already_revoked, and AbortedError
    etag_mismatch.
    """
    key_id = UUID(request.key_id)
    seen = found(await store.find_key(key_id=key_id, user_id=user_id))
    consumer = await store.lock_consumer(seen.consumer_id)
    key = found(await store.find_key(key_id=key_id, user_id=user_id))
    if key.project_id is not None:
        membership = await find_membership(store.connection, key.project_id, user_id)
        if membership is None or not may_change(key, user_id, membership.member.role, any_right):
            raise right_required()
        _require_owner(membership, consumer)
    require_unrevoked(key)
    check_etag(request.etag, key_message(key, utc_now(), is_changeable=True))
    return consumer, key


def may_change(
    key: Key,
    user_id: UUID,
    role: ProjectRole.ValueType | None,
    any_right: ProjectRight = ProjectRight.CHANGE_ANY_KEYS,
) -> bool:
    """Whether somebody who can see the key may change it. `role`: in the key's project, None for none.
    `any_right`: what lets one change keys that others have made."""
    if key.project_id is None:
        return key.consumer_id == user_id
    if may(role, any_right):
        return True
    # What a spend cap is, managers alone decide, also of keys that one has made oneself.
    is_own = key.created_by == user_id and any_right == ProjectRight.CHANGE_ANY_KEYS
    return is_own and may(role, ProjectRight.CHANGE_OWN_KEYS)


def seen_holders(
    user_id: UUID, memberships: Mapping[UUID, Member], right: ProjectRight, project_id: UUID | None
) -> list[UUID]:
    """The person itself and the projects where its role has that right; or that one project, if it is
    among them."""
    projects = [each for each, member in memberships.items() if may(member.role, right)]
    if project_id is not None:
        return [project_id] if project_id in projects else []
    return [user_id, *projects]


def _require_owner(membership: Membership, consumer: Consumer) -> None:
    if membership.owner_id != consumer.consumer_id:
        raise FailedPreconditionError("project_changed", "The project was just handed over. Try again.")
