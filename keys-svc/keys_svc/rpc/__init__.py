"""The RPCs of ams.keys.v1, a module for each noun."""

from dataclasses import dataclass
from functools import partial

from ams.keys.v1 import (
    exposures_service_pb2,
    exposures_service_pb2_grpc,
    grants_service_pb2,
    grants_service_pb2_grpc,
    key_settings_service_pb2,
    key_settings_service_pb2_grpc,
    keys_service_pb2,
    service_consumers_service_pb2,
    service_consumers_service_pb2_grpc,
)
from ams.keys.v1 import keys_service_pb2_grpc as rpc
from ams_common.server import ServedService

from keys_svc.rpc.access_requests import AccessRequestRpcs
from keys_svc.rpc.exposures import ExposuresService
from keys_svc.rpc.grants import GrantsService
from keys_svc.rpc.key_settings import KeySettingsService
from keys_svc.rpc.keys import KeyRpcs
from keys_svc.rpc.service_consumers import ServiceConsumersService
from keys_svc.rpc.spend_caps import SpendCapRpcs


# Each parent's fields say what it needs: the constructor, made from all of them, takes each once.
@dataclass(kw_only=True, eq=False)
class KeysService(AccessRequestRpcs, KeyRpcs, SpendCapRpcs, rpc.KeysServiceServicer):
    """What the server serves. A type error shows an RPC that no parent has."""


@dataclass(frozen=True, kw_only=True)
class Servicers:
    """All that keys-svc serves."""

    keys: KeysService
    key_settings: KeySettingsService
    grants: GrantsService
    service_consumers: ServiceConsumersService
    exposures: ExposuresService

    def served(self) -> list[ServedService]:
        """Each with its contract, as build_server takes them."""
        return [
            (
                keys_service_pb2.DESCRIPTOR.services_by_name["KeysService"],
                partial(rpc.add_KeysServiceServicer_to_server, self.keys),
            ),
            (
                key_settings_service_pb2.DESCRIPTOR.services_by_name["KeySettingsService"],
                partial(
                    key_settings_service_pb2_grpc.add_KeySettingsServiceServicer_to_server, self.key_settings
                ),
            ),
            (
                grants_service_pb2.DESCRIPTOR.services_by_name["GrantsService"],
                partial(grants_service_pb2_grpc.add_GrantsServiceServicer_to_server, self.grants),
            ),
            (
                service_consumers_service_pb2.DESCRIPTOR.services_by_name["ServiceConsumersService"],
                partial(
                    service_consumers_service_pb2_grpc.add_ServiceConsumersServiceServicer_to_server,
                    self.service_consumers,
                ),
            ),
            (
                exposures_service_pb2.DESCRIPTOR.services_by_name["ExposuresService"],
                partial(exposures_service_pb2_grpc.add_ExposuresServiceServicer_to_server, self.exposures),
            ),
        ]
