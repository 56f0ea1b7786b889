"""registry-svc: images, push tokens, and the OCI registry that docker talks to."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.identity.v1.events_pb2 import IdentityEvent
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams.registry.v1 import project_image_service_pb2, project_image_service_pb2_grpc
from ams.registry.v1 import registry_service_pb2 as pb
from ams.registry.v1 import registry_service_pb2_grpc as rpc
from ams_common import topics
from ams_common.client import ServiceToken, jwks_of, open_channel
from ams_common.consumer import EventConsumer, Subscription
from ams_common.database import Database
from ams_common.dead_letters_service import dead_letters_service
from ams_common.migrations import migrate
from ams_common.outbox import KafkaDestination, OutboxRelay
from ams_common.process import run_process
from ams_common.projects import ProjectFollower
from ams_common.retention import purge_old_answers
from ams_common.revisions import Revisions, asking
from ams_common.server import build_server, serve
from ams_common.settings import load
from ams_common.token_ends import follow_token_ends
from ams_common.tokens import TokenVerifier
from ams_common.web import listen, serve_asgi
from azure.containerregistry.aio import ContainerRegistryClient
from azure.identity.aio import DefaultAzureCredential
from starlette.types import ASGIApp

from registry_svc.auth.access_tokens import AccessTokens
from registry_svc.auth.authorizer import PullPushAuthorizer
from registry_svc.clients import PeerClients
from registry_svc.event_handlers import apply_identity_events, apply_projects
from registry_svc.images.denials import PullDenials
from registry_svc.images.published import PublishedImages
from registry_svc.images.publishing import ImagePublisher
from registry_svc.images.pulls import PullRecorder
from registry_svc.images.uploads import Uploads
from registry_svc.oci.app import build_app
from registry_svc.oci.blobs import Blobs
from registry_svc.oci.manifests import Manifests
from registry_svc.oci.streams import ConcurrencyLimit
from registry_svc.oci.tokens import TokenEndpoint
from registry_svc.oci.uploads import BlobUploads
from registry_svc.providers.azure import AzureProvider, EntraExchange
from registry_svc.providers.oci_client import NoAuth, OciClient, open_session
from registry_svc.providers.provider import ImageRegistryProvider
from registry_svc.rpc import RegistryService
from registry_svc.rpc.project_images import ProjectImageService
from registry_svc.settings import Settings
from registry_svc.storage.store import Store

# Connections beyond the requests that are answered: idle ones, and those that are told to come back.
_SPARE_CONNECTIONS = 200
_KEEP_ALIVE_S = 65


def main() -> None:
    run_process("registry-svc", partial(load, Settings, "REGISTRY"), run)


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT."""
    await migrate(settings.database_url, "registry_svc")
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database.open(settings.database_url, Store))
        identity = await stack.enter_async_context(open_channel(settings.identity_address))
        catalog = await stack.enter_async_context(open_channel(settings.catalog_address))
        keys = await stack.enter_async_context(open_channel(settings.keys_address))
        provider = await stack.enter_async_context(open_provider(settings))
        listener = stack.enter_context(listen(settings.http_listen, write_timeout_s=settings.idle_timeout_s))

        peers = PeerClients(
            catalog_rpc.CatalogServiceStub(catalog),
            keys_rpc.KeysServiceStub(keys),
            ServiceToken(identity, "registry-svc", settings.service_secret),
        )
        servicer = RegistryService(database=database, peers=peers, host=settings.host)
        descriptor = pb.DESCRIPTOR.services_by_name["RegistryService"]
        add_servicer = partial(rpc.add_RegistryServiceServicer_to_server, servicer)
        token_ends = await stack.enter_async_context(
            follow_token_ends(settings, "registry-svc", settings.service_secret)
        )
        projects = ProjectImageService(database=database)
        services = [
            (descriptor, add_servicer),
            (
                project_image_service_pb2.DESCRIPTOR.services_by_name["ProjectImageService"],
                partial(project_image_service_pb2_grpc.add_ProjectImageServiceServicer_to_server, projects),
            ),
        ]
        kafka = KafkaDestination(settings.kafka_bootstrap_servers, settings.kafka_topic_prefix)
        events = EventConsumer(
            database,
            settings.kafka_bootstrap_servers,
            "registry-svc",
            [Subscription(topics.IDENTITY_EVENTS, IdentityEvent, apply_identity_events)],
            settings.kafka_topic_prefix,
        )
        server = build_server(
            TokenVerifier(jwks_of(identity), token_ends.ended),
            [*services, dead_letters_service("registry", events.dead_letters)],
        )

        front = serve_asgi(
            build_front(settings, database, peers, provider),
            listener,
            stop_grace_s=settings.stop_grace_s,
            handles_signals=False,  # the gRPC server's, which ends us with itself
            http="httptools",
            timeout_keep_alive=_KEEP_ALIVE_S,
            limit_concurrency=settings.max_requests + _SPARE_CONNECTIONS,
        )
        following = await stack.enter_async_context(open_channel(settings.identity_address, is_apart=True))
        revisions = Revisions(asking(following, "registry-svc", settings.service_secret))
        follower = ProjectFollower(
            database, following, "registry-svc", settings.service_secret, apply_projects
        )
        background = [
            front,
            follower.run(revisions),
            purge_old_answers(database),
            OutboxRelay(settings.database_url, kafka).run(),
            events.run(),
            events.dead_letters.keep_counted(),
            token_ends.run(revisions),
            revisions.run(),
        ]
        await serve(server, settings.listen, background)


def build_front(
    settings: Settings, database: Database[Store], peers: PeerClients, provider: ImageRegistryProvider
) -> ASGIApp:
    """Wires the HTTP side: what docker talks to."""
    authorizer = PullPushAuthorizer(database, peers)
    access_tokens = AccessTokens(settings.signing_seed, settings.host)
    tokens = TokenEndpoint(authorizer, access_tokens, settings.public_url)
    publisher = ImagePublisher(database)
    published = PublishedImages(database, publisher, provider)
    denials = PullDenials(database, authorizer)
    limit = ConcurrencyLimit(settings.max_streams)
    return build_app(
        tokens,
        Blobs(
            tokens=tokens,
            authorizer=authorizer,
            provider=provider,
            published=published,
            denials=denials,
            limit=limit,
            idle_timeout_s=settings.idle_timeout_s,
        ),
        BlobUploads(
            tokens=tokens,
            authorizer=authorizer,
            provider=provider,
            uploads=Uploads(database, provider),
            limit=limit,
            max_bytes=settings.max_blob_bytes,
            idle_timeout_s=settings.idle_timeout_s,
        ),
        Manifests(
            tokens=tokens,
            authorizer=authorizer,
            provider=provider,
            publisher=publisher,
            published=published,
            pulls=PullRecorder(database),
            denials=denials,
            idle_timeout_s=settings.idle_timeout_s,
        ),
        max_requests=settings.max_requests,
        trusted_proxies=settings.trusted_proxies,
    )


@asynccontextmanager
async def open_provider(settings: Settings) -> AsyncIterator[ImageRegistryProvider]:
    """Opens what stores the images, as the settings say."""
    async with open_session() as http:
        if settings.provider == "distribution":
            yield OciClient(http, settings.provider_url, NoAuth())
            return
        async with (
            DefaultAzureCredential() as credential,
            ContainerRegistryClient(settings.provider_url, credential) as client,
        ):
            exchange = EntraExchange(http, settings.provider_url, credential)
            yield AzureProvider(http, settings.provider_url, client, exchange)


if __name__ == "__main__":
    main()
