"""In which of their roles somebody acts. Pure."""

from ams.policy.v1.policy_pb2 import Role
from ams_common.context import Caller
from ams_common.errors import FieldViolation, InvalidArgumentError, PermissionDeniedError


def acting_role(caller: Caller, asked: Role.ValueType) -> Role.ValueType:
    """The role that a request asks for; unset: the caller's only one, else the one they chose to act in.

    Raises PermissionDeniedError for a role that the caller doesn't hold, InvalidArgumentError role_required
    when it can't be told which one is meant.
    """
    if asked:
        if asked not in caller.roles:
            raise PermissionDeniedError("role_not_held", "You can't act in that role here.")
        return asked
    if len(caller.roles) == 1:
        return next(iter(caller.roles))
    if caller.active_role in caller.roles:
        return caller.active_role
    violation = FieldViolation("role", "is required of an account with several roles")
    raise InvalidArgumentError("role_required", "Say in which of your roles you ask.", [violation])
