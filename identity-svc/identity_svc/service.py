"""ams.identity.v1.IdentityService: its RPCs by noun, joined."""

from ams.identity.v1 import identity_service_pb2_grpc as rpc

from identity_svc.service_audit import AuditHandlers
from identity_svc.service_consumers import ConsumerHandlers
from identity_svc.service_invites import InviteHandlers
from identity_svc.service_merchants import MerchantHandlers
from identity_svc.service_oidc import OidcHandlers
from identity_svc.service_sessions import SessionHandlers
from identity_svc.service_sign_in import SignInHandlers


class IdentityServicer(
    SignInHandlers,
    OidcHandlers,
    SessionHandlers,
    InviteHandlers,
    MerchantHandlers,
    ConsumerHandlers,
    AuditHandlers,
    rpc.IdentityServiceServicer,
):
    """All of them; a test holds that none is missing."""
