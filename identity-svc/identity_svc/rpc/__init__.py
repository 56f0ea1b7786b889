"""The RPCs of ams.identity.v1.IdentityService, a module for each noun."""

from dataclasses import dataclass

from ams.identity.v1 import identity_service_pb2_grpc as rpc

from identity_svc.rpc.accounts import AccountRpcs
from identity_svc.rpc.audit_log import AuditLogRpcs
from identity_svc.rpc.invites import InviteRpcs
from identity_svc.rpc.oidc import OidcRpcs
from identity_svc.rpc.sessions import SessionRpcs
from identity_svc.rpc.sign_in import SignInRpcs
from identity_svc.rpc.tokens import TokenRpcs


# Each parent's fields say what it needs: the constructor, made from all of them, takes each once.
@dataclass(kw_only=True, eq=False, repr=False)
class IdentityService(
    SignInRpcs,
    OidcRpcs,
    SessionRpcs,
    TokenRpcs,
    InviteRpcs,
    AccountRpcs,
    AuditLogRpcs,
    rpc.IdentityServiceServicer,
):
    """What the server serves. A type error shows an RPC that no parent has."""
