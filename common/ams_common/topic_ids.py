"""Which incarnation of a topic Kafka has: the id that it gives a topic when it is made (Kafka 2.8 and later).

aiokafka asks for metadata in versions that have no such ids yet, so the request is defined here, with its
own types.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from uuid import UUID

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from ams_common.server import finish

# How long the connections may take to close.
_CLOSE_S = 5.0
_METADATA = 3
_VERSION = 12


class _Uuid(AbstractType[UUID]):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = _METADATA
    API_VERSION = _VERSION
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync_replicas", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _MetadataRequestStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = _METADATA
    API_VERSION = _VERSION
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("name", CompactString()), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestStruct]):  # type: ignore[misc]
    API_KEY = _METADATA

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_MetadataRequestStruct]) -> _MetadataRequestStruct:
        return request_struct_class([(UUID(int=0), self._topic, {})], False, False, {})


class TopicIds:
    """Asks a cluster for the ids of topics."""

    def __init__(self, client: AIOKafkaClient) -> None:
        self._client = client

    @classmethod
    @asynccontextmanager
    async def of(cls, bootstrap_servers: str) -> AsyncIterator["TopicIds"]:
        client = AIOKafkaClient(bootstrap_servers=bootstrap_servers)
        try:
            await client.bootstrap()
            yield cls(client)
        finally:
            await finish(client.close(), _CLOSE_S)

    async def id_of(self, topic: str) -> str:
        """The id of the topic as it is now. Raises KafkaError when it isn't there."""
        response = await self._client.send(self._client.get_random_node(), _MetadataRequest(topic))
        ((error_code, _, topic_id, *_),) = response.topics
        if error_code:
            raise for_code(error_code)(topic)
        return str(topic_id)
