"""A client of the OCI protocol at /v2/ that does what it is told, request by request."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg

from support.docker_images import MANIFEST, Part, digest_of
from support.image_trade import ImageTrade
from support.running_system import RunningSystem

INDEX = "application/vnd.oci.image.index.v1+json"


def basic_auth(password: str) -> str:
    return f"Basic {base64.b64encode(f'anybody:{password}'.encode()).decode()}"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody at /v2/ with an access token."""

    http: aiohttp.ClientSession
    url: str
    token: str = ""

    async def sign_in(self, password: str, *scopes: str) -> "Client":
        """With an access token for the scopes."""
        basic = {"Authorization": basic_auth(password)}
        params = [("service", "ams"), *(("scope", scope) for scope in scopes)]
        async with self.http.get(f"{self.url}/token", headers=basic, params=params) as response:
            body = await response.json()
            assert response.status == 200, body
            return Client(self.http, self.url, body["token"])

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= options.pop("headers", {})
        if isinstance(options.get("data"), bytes):
            options["data"] = io.BytesIO(options["data"])  # aiohttp sends it in parts
        async with self.http.request(method, f"{self.url}{path}", headers=headers, **options) as response:
            return Answer(response.status, response.headers, await response.read())


def name_of(trade: ImageTrade) -> str:
    return str(trade.publishing.token["repository"])


async def upload(client: Client, name: str, content: bytes) -> str:
    """A layer, in one request; its digest."""
    path = f"/v2/{name}/blobs/uploads/?digest={digest_of(content)}"
    done = await client.ask("POST", path, data=content)
    assert done.status == 201, done.text
    return digest_of(content)


def manifest(config: Part, *layers: Part) -> bytes:
    parts = [{"mediaType": "any", "digest": part.digest, "size": part.size} for part in (config, *layers)]
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]}
    return json.dumps(document).encode()


async def push(client: Client, name: str, tag: str, content: bytes = b"layer") -> str:
    """An image of one layer; its manifest's digest."""
    config, layer = await upload(client, name, b"{}"), await upload(client, name, content)
    body = manifest(Part(config, 2), Part(layer, len(content)))
    await put_manifest(client, name, tag, body)
    return digest_of(body)


async def push_index(client: Client, name: str, tag: str, *platforms: bytes) -> str:
    """An index of manifests that are there; its digest."""
    parts = [{"mediaType": MANIFEST, "digest": digest_of(body), "size": len(body)} for body in platforms]
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": parts}
    # The tag makes it another index than that of the same platforms under another tag.
    body = json.dumps({**document, "annotations": {"version": tag}}).encode()
    await put_manifest(client, name, tag, body, INDEX)
    return digest_of(body)


async def put_manifest(
    client: Client, name: str, reference: str, body: bytes, media_type: str = MANIFEST
) -> None:
    headers = {"Content-Type": media_type}
    done = await client.ask("PUT", f"/v2/{name}/manifests/{reference}", data=body, headers=headers)
    assert done.status == 201, done.text
    assert done.headers["Docker-Content-Digest"] == digest_of(body)


async def query(system: RunningSystem, statement: str, *values: object) -> Sequence[Any]:
    """The rows that the registry's database answers with."""
    connection = await asyncpg.connect(system.database_urls["registry"])
    try:
        rows: Sequence[Any] = await connection.fetch(statement, *values)
    finally:
        await connection.close()
    return rows


async def pulled_tags(system: RunningSystem, name: str) -> list[str]:
    """The version of each pull of the image that was written down, and billed with that."""
    statement = "SELECT tag FROM pulls JOIN images USING (image_id) WHERE name = $1 ORDER BY pulled_at"
    return [row["tag"] for row in await query(system, statement, name)]
