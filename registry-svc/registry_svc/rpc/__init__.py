"""The RPCs of ams.registry.v1.RegistryService, a module for each noun."""

from dataclasses import dataclass

from ams.registry.v1 import registry_service_pb2_grpc as rpc

from registry_svc.rpc.images import ImageRpcs
from registry_svc.rpc.push_tokens import PushTokenRpcs


# Each parent's fields say what it needs: the constructor, made from all of them, takes each once.
@dataclass(kw_only=True, eq=False)
class RegistryService(PushTokenRpcs, ImageRpcs, rpc.RegistryServiceServicer):
    """What the server serves; `host` stands before an image's name in docker's commands."""
