"""The RPCs of identity-svc: those of ams.identity.v1.IdentityService, a module for each noun, and those of
the services beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import grpc
from ams.identity.v1 import (
    identity_service_pb2,
    notifications_service_pb2,
    notifications_service_pb2_grpc,
    profile_service_pb2,
    profile_service_pb2_grpc,
    project_service_pb2,
    project_service_pb2_grpc,
    second_factor_service_pb2,
    second_factor_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
    settings_service_pb2,
    settings_service_pb2_grpc,
    team_service_pb2,
    team_service_pb2_grpc,
    token_service_pb2,
    token_service_pb2_grpc,
)
from ams.identity.v1 import identity_service_pb2_grpc as rpc
from google.protobuf.descriptor import ServiceDescriptor

from identity_svc.rpc.accounts import AccountRpcs
from identity_svc.rpc.audit_log import AuditLogRpcs
from identity_svc.rpc.invites import InviteRpcs
from identity_svc.rpc.notifications import NotificationsService
from identity_svc.rpc.oidc import OidcRpcs
from identity_svc.rpc.platform_settings import SettingsService
from identity_svc.rpc.profiles import ProfileService
from identity_svc.rpc.project_service import ProjectService
from identity_svc.rpc.second_factor_service import SecondFactorService
from identity_svc.rpc.session_service import SessionService
from identity_svc.rpc.sessions import SessionRpcs
from identity_svc.rpc.sign_in import SignInRpcs
from identity_svc.rpc.team import TeamService
from identity_svc.rpc.token_service import TokenService
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


def services_of(
    identity: IdentityService,
) -> Sequence[tuple[ServiceDescriptor, Callable[[grpc.aio.Server], None]]]:
    """All services of the process, as `build_server` takes them; the others share what `identity` has."""
    database, clock = identity.database, identity.clock
    return [
        (
            identity_service_pb2.DESCRIPTOR.services_by_name["IdentityService"],
            partial(rpc.add_IdentityServiceServicer_to_server, identity),
        ),
        (
            token_service_pb2.DESCRIPTOR.services_by_name["TokenService"],
            partial(
                token_service_pb2_grpc.add_TokenServiceServicer_to_server,
                TokenService(
                    database=database,
                    keyring=identity.keyring,
                    session_issuer=identity.session_issuer,
                    clock=clock,
                ),
            ),
        ),
        (
            session_service_pb2.DESCRIPTOR.services_by_name["SessionService"],
            partial(
                session_service_pb2_grpc.add_SessionServiceServicer_to_server,
                SessionService(database=database, clock=clock),
            ),
        ),
        (
            second_factor_service_pb2.DESCRIPTOR.services_by_name["SecondFactorService"],
            partial(
                second_factor_service_pb2_grpc.add_SecondFactorServiceServicer_to_server,
                SecondFactorService(
                    database=database,
                    checks=identity.factors,
                    session_issuer=identity.session_issuer,
                    clock=clock,
                ),
            ),
        ),
        (
            team_service_pb2.DESCRIPTOR.services_by_name["TeamService"],
            partial(
                team_service_pb2_grpc.add_TeamServiceServicer_to_server,
                TeamService(database=database, clock=clock),
            ),
        ),
        (
            settings_service_pb2.DESCRIPTOR.services_by_name["SettingsService"],
            partial(
                settings_service_pb2_grpc.add_SettingsServiceServicer_to_server,
                SettingsService(database=database, clock=clock),
            ),
        ),
        (
            profile_service_pb2.DESCRIPTOR.services_by_name["ProfileService"],
            partial(
                profile_service_pb2_grpc.add_ProfileServiceServicer_to_server,
                ProfileService(database=database, clock=clock),
            ),
        ),
        (
            notifications_service_pb2.DESCRIPTOR.services_by_name["NotificationsService"],
            partial(
                notifications_service_pb2_grpc.add_NotificationsServiceServicer_to_server,
                NotificationsService(database=database, vault=identity.vault, clock=clock),
            ),
        ),
        (
            project_service_pb2.DESCRIPTOR.services_by_name["ProjectService"],
            partial(
                project_service_pb2_grpc.add_ProjectServiceServicer_to_server,
                ProjectService(database=database, mail_queue=identity.mail_queue, clock=clock),
            ),
        ),
    ]
