"""What the RPC methods of this service stand on."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from ams_common.database import Database

from identity_svc.clocks import Clock
from identity_svc.issuance import SessionIssuer
from identity_svc.keyring import Keyring
from identity_svc.mails import Outgoing
from identity_svc.peers import ServiceSecrets
from identity_svc.providers import Providers
from identity_svc.store import Store
from identity_svc.system_store import SystemStore
from identity_svc.vault import Vault

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """The service's real objects, made once in `__main__`."""

    database: Database
    store: Store
    system_store: SystemStore
    vault: Vault
    keyring: Keyring
    outgoing: Outgoing
    issuer: SessionIssuer
    service_secrets: ServiceSecrets
    providers: Providers
    clock: Clock


class Handlers:
    """The RPC methods of one noun; `service.IdentityServicer` joins them."""

    def __init__(self, parts: Parts) -> None:
        self._database = parts.database
        self._store = parts.store
        self._system_store = parts.system_store
        self._vault = parts.vault
        self._keyring = parts.keyring
        self._outgoing = parts.outgoing
        self._issuer = parts.issuer
        self._service_secrets = parts.service_secrets
        self._providers = parts.providers
        self._clock = parts.clock
