"""The RPCs of the services of ams.catalog.v1, a module for each noun."""

from dataclasses import dataclass

from ams.catalog.v1 import catalog_service_pb2_grpc as rpc

from catalog_svc.rpc.credentials import CredentialRpcs
from catalog_svc.rpc.marketplace import MarketplaceRpcs
from catalog_svc.rpc.prices import PriceRpcs
from catalog_svc.rpc.services import ServiceRpcs
from catalog_svc.rpc.updates import UpdateRpcs


# Each parent's fields say what it needs: the constructor, made from all of them, takes each once.
@dataclass(kw_only=True, eq=False)
class CatalogService(
    MarketplaceRpcs, ServiceRpcs, UpdateRpcs, PriceRpcs, CredentialRpcs, rpc.CatalogServiceServicer
):
    """What the server serves of CatalogService. A type error shows an RPC that no parent has."""
