"""ams.keys.v1.KeysService, put together from its two nouns."""

from ams.keys.v1 import keys_service_pb2_grpc as rpc
from ams_common.database import Database

from keys_svc.catalog import Catalog
from keys_svc.service_access import AccessRpcs
from keys_svc.service_keys import KeyRpcs
from keys_svc.store import Store


class KeysService(AccessRpcs, KeyRpcs, rpc.KeysServiceServicer):
    """What the server serves."""

    def __init__(self, database: Database, store: Store, catalog: Catalog) -> None:
        AccessRpcs.__init__(self, database, store, catalog)
        KeyRpcs.__init__(self, database, store)
