"""In which of their roles somebody acts."""

from ams.policy.v1.policy_pb2 import ADMIN, MERCHANT, Role
from ams_common.context import Caller
from ams_common.errors import PermissionDeniedError

from billing_svc.messages import Audience


def acting_role(caller: Caller, asked: Role.ValueType, otherwise: Role.ValueType) -> Role.ValueType:
    """The role that the request asks for; unset: `otherwise` if the caller holds it, else admin. An account
    with several roles acts in one: what an admin may do must not happen from a merchant's page.

    Raises PermissionDeniedError for a role that the caller doesn't hold.
    """
    role = asked or (otherwise if otherwise in caller.roles else ADMIN)
    if role not in (ADMIN, MERCHANT) or role not in caller.roles:
        raise PermissionDeniedError("role_not_held", "You can't act in that role here.")
    return role


def audience_of(role: Role.ValueType) -> Audience:
    """Whose eyes an answer to that role is for."""
    return Audience.ADMIN if role == ADMIN else Audience.MERCHANT
