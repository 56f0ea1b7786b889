"""Moving a role from one standing to another."""

from uuid import UUID

from ams_common.database import Change
from ams_common.errors import FailedPreconditionError, NotFoundError

from identity_svc.roles import Transition
from identity_svc.store import Store


async def move(store: Store, change: Change, transition: Transition, user_id: UUID, reason: str) -> None:
    """Makes the transition and audits it.

    Raises NotFoundError for who doesn't hold the role, FailedPreconditionError from another standing.
    The row stays locked until the commit, so events of one user go out in the order of their changes.
    """
    standing = await store.lock_role(change.connection, user_id, transition.role)
    if standing is None:
        raise NotFoundError(transition.not_found_code, f"There is no such {transition.role}.")
    if standing != transition.before:
        raise FailedPreconditionError(transition.refused_code, transition.refused_message)
    await store.set_standing(change.connection, user_id, transition)
    change.audit(transition.role, user_id, reason=reason)
