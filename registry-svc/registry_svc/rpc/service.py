"""ams.registry.v1.RegistryService, put together from its two nouns."""

from ams.registry.v1 import registry_service_pb2_grpc as rpc
from ams_common.database import Database

from registry_svc.clients import Neighbours
from registry_svc.rpc.images import ImageRpcs
from registry_svc.rpc.push_tokens import PushTokenRpcs
from registry_svc.storage.store import Store


class RegistryService(PushTokenRpcs, ImageRpcs, rpc.RegistryServiceServicer):
    """What the gRPC server serves."""

    def __init__(self, database: Database, store: Store, neighbours: Neighbours, host: str) -> None:
        """`host`: what stands before an image's name in docker's commands."""
        PushTokenRpcs.__init__(self, database, store, neighbours, host)
        ImageRpcs.__init__(self, database, store, neighbours, host)
