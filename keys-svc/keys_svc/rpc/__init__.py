"""The RPCs of ams.keys.v1.KeysService, a module for each noun."""

from dataclasses import dataclass

from ams.keys.v1 import keys_service_pb2_grpc as rpc

from keys_svc.rpc.access_requests import AccessRequestRpcs
from keys_svc.rpc.keys import KeyRpcs
from keys_svc.rpc.spend_caps import SpendCapRpcs


# Each parent's fields say what it needs: the constructor, made from all of them, takes each once.
@dataclass(kw_only=True, eq=False)
class KeysService(AccessRequestRpcs, KeyRpcs, SpendCapRpcs, rpc.KeysServiceServicer):
    """What the server serves. A type error shows an RPC that no parent has."""
