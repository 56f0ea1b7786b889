"""registry-svc: images, push tokens, and the OCI registry that docker talks to."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.identity.v1.events_pb2 import IdentityEvent
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams.registry.v1 import registry_service_pb2 as pb
from ams.registry.v1 import registry_service_pb2_grpc as rpc
from ams_common import topics
from ams_common.client import ServiceToken, jwks_of, open_channel
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Database
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.process import run_process
from ams_common.queries import Queries
from ams_common.server import build_server, serve
from ams_common.settings import load
from ams_common.tokens import TokenVerifier
from azure.containerregistry.aio import ContainerRegistryClient
from azure.identity.aio import DefaultAzureCredential
from starlette.types import ASGIApp

from registry_svc.auth.access_tokens import AccessTokens
from registry_svc.auth.authorizer import Gatekeeper
from registry_svc.clients import Neighbours
from registry_svc.event_handlers import IdentityEvents
from registry_svc.images.parts import Parts
from registry_svc.images.publishing import Ledger
from registry_svc.images.uploads import Uploads
from registry_svc.oci.app import build_front
from registry_svc.oci.blobs import Blobs
from registry_svc.oci.manifests import Manifests
from registry_svc.oci.refusals import Refusals
from registry_svc.oci.streams import Streams
from registry_svc.oci.tokens import Door
from registry_svc.oci.uploads import UploadFront
from registry_svc.oci.web import listen, serve_http
from registry_svc.providers.azure import AzureProvider, EntraExchange
from registry_svc.providers.distribution import DistributionProvider
from registry_svc.providers.oci_client import open_session
from registry_svc.providers.provider import ImageRegistryProvider
from registry_svc.rpc.service import RegistryService
from registry_svc.settings import Settings
from registry_svc.storage.store import Store


def main() -> None:
    """The console script."""
    run_process("registry-svc", partial(load, Settings, "REGISTRY"), run)


async def run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    await migrate(settings.database_url, "registry_svc")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings.database_url))
        identity = await stack.enter_async_context(open_channel(settings.identity_address))
        catalog = await stack.enter_async_context(open_channel(settings.catalog_address))
        keys = await stack.enter_async_context(open_channel(settings.keys_address))
        provider = await stack.enter_async_context(open_provider(settings))
        listener = stack.enter_context(listen(settings.http_listen, settings.silence_s))

        token = ServiceToken(identity, "registry-svc", settings.service_secret)
        neighbours = Neighbours(
            catalog_rpc.CatalogServiceStub(catalog), keys_rpc.KeysServiceStub(keys), token
        )
        store = Store(Queries.load("registry_svc.storage"))
        servicer = RegistryService(database, store, neighbours, settings.host)
        server = build_server(
            TokenVerifier(jwks_of(identity)),
            [
                (
                    pb.DESCRIPTOR.services_by_name["RegistryService"],
                    partial(rpc.add_RegistryServiceServicer_to_server, servicer),
                )
            ],
        )

        access_tokens = AccessTokens(settings.signing_seed, settings.host)
        door = Door(Gatekeeper(database, store, neighbours), access_tokens, settings.public_url)
        ledger = Ledger(database, store)
        front = build_front_of(settings, door, provider, ledger, Uploads(database, store, provider))

        kafka = KafkaDestination(settings.kafka_bootstrap_servers, settings.kafka_topic_prefix)
        events = EventConsumer(
            database,
            settings.kafka_bootstrap_servers,
            "registry-svc",
            [Subscription(topics.IDENTITY_EVENTS, IdentityEvent, IdentityEvents(store).apply)],
            settings.kafka_topic_prefix,
        )
        background = [
            serve_http(
                front, listener, max_requests=settings.max_requests, stop_grace_s=settings.stop_grace_s
            ),
            OutboxRelay(settings.database_url, kafka).run(),
            events.run(),
        ]
        await serve(server, settings.listen, background)


def build_front_of(
    settings: Settings, door: Door, provider: ImageRegistryProvider, ledger: Ledger, uploads: Uploads
) -> ASGIApp:
    """The HTTP side."""
    streams, refusals = Streams(settings.max_streams), Refusals(door, ledger)
    silence_s = settings.silence_s
    return build_front(
        door,
        Blobs(door, provider, Parts(ledger, provider), refusals, streams, silence_s=silence_s),
        UploadFront(door, provider, uploads, streams, max_bytes=settings.max_blob_bytes, silence_s=silence_s),
        Manifests(door, provider, ledger, refusals, silence_s=silence_s),
        max_requests=settings.max_requests,
    )


@asynccontextmanager
async def open_provider(settings: Settings) -> AsyncIterator[ImageRegistryProvider]:
    """What stores the images, as the settings say."""
    async with open_session() as http:
        if settings.provider == "distribution":
            yield DistributionProvider(http, settings.provider_url)
            return
        async with (
            DefaultAzureCredential() as credential,
            ContainerRegistryClient(settings.provider_url, credential) as client,
        ):
            exchange = EntraExchange(http, settings.provider_url, credential)
            yield AzureProvider(http, settings.provider_url, client, exchange)


if __name__ == "__main__":
    main()
