"""The RPCs of ams.identity.v1.ProjectService, a module for each noun."""

from dataclasses import dataclass

from ams.identity.v1 import project_service_pb2_grpc as rpc

from identity_svc.rpc.project_invitations import ProjectInvitationRpcs
from identity_svc.rpc.project_members import ProjectMemberRpcs
from identity_svc.rpc.projects import ProjectRpcs


@dataclass(kw_only=True, eq=False, repr=False)
class ProjectService(ProjectRpcs, ProjectMemberRpcs, ProjectInvitationRpcs, rpc.ProjectServiceServicer):
    """What the server serves of projects. A type error shows an RPC that no parent has."""
