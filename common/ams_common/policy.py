"""Who may call an RPC: `ams.policy.v1.rule` of the protos. No rule, no service."""

from collections.abc import Iterable, Mapping

from ams.policy.v1.policy_pb2 import Rule, rule
from google.protobuf.descriptor import ServiceDescriptor

from ams_common.context import Caller
from ams_common.errors import AppError, PermissionDeniedError, UnauthenticatedError


class PolicyError(Exception):
    """An RPC can't be served: its proto has no usable ams.policy.v1.rule."""


def rules_of(services: Iterable[ServiceDescriptor]) -> Mapping[str, Rule]:
    """The rule of each RPC by its full path, "/ams.keys.v1.KeysService/GetKey".

    Raises PolicyError for an RPC that nobody may call.
    """
    rules: dict[str, Rule] = {}
    for service in services:
        for method in service.methods:
            method_rule = method.GetOptions().Extensions[rule]
            if not (method_rule.public or method_rule.signed_in or method_rule.roles or method_rule.callers):
                raise PolicyError(f"{method.full_name} has no ams.policy.v1.rule, so nobody may call it")
            rules[f"/{service.full_name}/{method.name}"] = method_rule
    return rules


def denial(method_rule: Rule | None, caller: Caller) -> AppError | None:
    """Why `caller` may not call an RPC with this rule, or None. Without a rule nobody may."""
    if method_rule is None:
        return PermissionDeniedError("rpc_not_served", "This call is not available.")
    if caller.is_read_only and method_rule.audit:
        return PermissionDeniedError("token_scope", "This token may read, but change nothing.")
    if method_rule.public:
        return None
    if caller.service is not None:
        if caller.service in method_rule.callers:
            return None
        return PermissionDeniedError("caller_not_allowed", "This service may not make this call.")
    if caller.user_id is None:
        return UnauthenticatedError("sign_in_required", "Sign in to do this.")
    if not method_rule.signed_in and caller.roles.isdisjoint(method_rule.roles):
        return PermissionDeniedError("role_required", "Your account doesn't have the role that this needs.")
    if method_rule.session_only and not caller.credential.startswith("session:"):
        return PermissionDeniedError(
            "session_required", "A token can't do this: sign in, and do it in the web UI."
        )
    return None
