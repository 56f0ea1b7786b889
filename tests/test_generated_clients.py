"""Clients that public generators make of the OpenAPI document compile, and run a consumer's story."""

import asyncio
import importlib
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from ams_local.rest import People, Rest
from ams_local.tools import node
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import new_service
from support.upstream_api import Upstream

CLIENTS = Path(__file__).parent / "clients"


@pytest.fixture
async def document(http: aiohttp.ClientSession, system: RunningSystem, tmp_path: Path) -> Path:
    """The document, as the running system publishes it."""
    async with http.get(f"{system.rest_url}/api/v1/openapi.json") as response:
        (tmp_path / "openapi.json").write_bytes(await response.read())
    return tmp_path / "openapi.json"


@pytest.fixture
async def story(people: People, upstream: Upstream) -> Mapping[str, Any]:
    """A service that nobody has access to yet, its admin, and a consumer."""
    tag = secrets.token_hex(4)
    admin = await people.signed_in(ADMIN_EMAIL)
    merchant = await people.register_merchant(admin, f"merchant-{tag}@example.com", f"Maps {tag}")
    consumer = await people.register_consumer(f"consumer-{tag}@example.com")
    service = await merchant.post("/services", **new_service(upstream.base_url, name=f"Geo {tag}"))
    await merchant.post(f"/services/{service['serviceId']}:submit")
    await admin.post(f"/services/{service['serviceId']}:approve")
    # From when one may ask for it, so may all.
    other = await people.register_consumer(f"other-{tag}@example.com")
    await other.post_eventually("/access-requests", serviceId=service["serviceId"])
    return {"admin": admin, "consumer": consumer, "service": service}


@pytest.fixture
def generated(document: Path) -> Iterator[Path]:
    """Where the Python client was made; importable as ams_client."""
    made = document.parent / "python"
    program = Path(sys.executable).parent / "openapi-python-client"
    words: list[str | Path] = ["generate", "--path", document, "--output-path", made, "--fail-on-warning"]
    config: list[str | Path] = ["--config", CLIENTS / "openapi-python-client.yml"]
    done = subprocess.run([program, *words, *config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(made))
    try:
        yield made / "ams_client"
    finally:
        sys.path.remove(str(made))
        for name in [name for name in sys.modules if name.partition(".")[0] == "ams_client"]:
            del sys.modules[name]


async def test_a_python_client_runs_the_story(
    system: RunningSystem, story: Mapping[str, Any], generated: Path
) -> None:
    found = await asyncio.to_thread(python_story, system.rest_url, system.gateway_url, story)
    assert found == {
        "service": story["service"]["name"],
        "asked": "PENDING",
        "granted": "APPROVED",
        "called": 200,
        "renamed": "story, told",
        "late": "etag_mismatch",
        "revoked": "KEY_REVOKED",
        "missing": "key_not_found",
    }
    await asyncio.to_thread(import_all, generated)


def import_all(generated: Path) -> None:
    """Whatever no story needs is at least Python."""
    for module in generated.rglob("*.py"):
        importlib.import_module(".".join(module.relative_to(generated.parent).with_suffix("").parts))


def python_story(url: str, gateway_url: str, story: Mapping[str, Any]) -> Mapping[str, Any]:
    """By the generated client alone; its functions and models are not known to a type checker."""

    def call(name: str, client: Any, *args: Any, **fields: Any) -> Any:
        return importlib.import_module(f"ams_client.api.{name}").sync(*args, client=client, **fields)

    models: Any = importlib.import_module("ams_client.models")
    client: Any = importlib.import_module("ams_client.client")
    service_id = UUID(story["service"]["serviceId"])

    with (
        client.Client(url) as anybody,
        client.AuthenticatedClient(url, story["consumer"].token) as consumer,
        client.AuthenticatedClient(url, story["admin"].token) as admin,
    ):
        listed = call("catalog.list_marketplace_services", anybody, page_size=100)
        [service] = [each for each in listed.services if each.service_id == str(service_id)]
        body = models.RequestAccessBody(service_id=service_id, note="For the story.")
        asked = call("keys.request_access", consumer, body=body, idempotency_key="asked-once")
        body = models.ApproveAccessBody(reason="Fine.")
        granted = call("keys.approve_access", admin, UUID(asked.access_request_id), body=body)
        body = models.CreateKeyBody(name="story", service_ids=[service_id], ttl_days=7)
        made = call("keys.create_key", consumer, body=body)

        consuming = importlib.import_module("ams_client.api.consume.consume")
        body = models.ConsumeJsonBody.from_dict({"where": "here"})
        with client.AuthenticatedClient(gateway_url, made.secret) as calling:
            called = consuming.sync_detailed(client=calling, body=body, x_ams_service=str(service_id))
        key_id, seen = UUID(made.key.key_id), f'"{made.key.etag}"'
        body = models.UpdateKeyBody(name="story, told")
        renamed = call("key_settings.update_key", consumer, key_id, body=body, if_match=seen)
        late = call("key_settings.update_key", consumer, key_id, body=body, if_match=seen)
        revoked = call("keys.revoke_key", consumer, UUID(made.key.key_id), body=models.RevokeKeyBody())
        missing = call("keys.get_key", consumer, service_id)
        return {
            "service": service.name,
            "asked": asked.status.value,
            "granted": granted.status.value,
            "called": called.status_code.value,
            "renamed": renamed.name,
            "late": late.code,
            "revoked": revoked.status.value,
            "missing": missing.code,
        }


async def test_a_typescript_client_compiles_and_runs_the_story(
    system: RunningSystem, story: Mapping[str, Any], document: Path
) -> None:
    admin, consumer = story["admin"], story["consumer"]
    environment = {
        "API_URL": system.rest_url,
        "GATEWAY_URL": system.gateway_url,
        "SERVICE_ID": story["service"]["serviceId"],
        "CONSUMER_TOKEN": consumer.token,
        "ADMIN_TOKEN": admin.token,
    }
    printed = await asyncio.to_thread(typescript_story, document, environment)
    assert json.loads(printed) == {
        "service": story["service"]["name"],
        "asked": "PENDING",
        "granted": "APPROVED",
        "location": True,
        "called": 200,
        "renamed": "story, told",
        "late": "etag_mismatch",
        "revoked": "KEY_REVOKED",
        "missing": "key_not_found",
    }


def typescript_story(document: Path, environment: Mapping[str, str]) -> str:
    """Types from the document, strict checks of the story against them, and the story itself."""
    home = document.parent / "typescript"
    home.mkdir()
    (home / "story.ts").write_text((CLIENTS / "story.ts").read_text())
    (home / "node_modules").symlink_to(CLIENTS / "node_modules")
    (home / "package.json").write_text('{"type": "module"}')
    programs = CLIENTS / "node_modules"
    run_node(home, programs / "openapi-typescript/bin/cli.js", document, "-o", home / "schema.d.ts")
    strict = ["--strict", "--noUncheckedIndexedAccess", "--noEmit", "--target", "es2022"]
    modules = ["--module", "esnext", "--moduleResolution", "bundler", "--types", "node"]
    run_node(home, programs / "typescript/bin/tsc", *strict, *modules, home / "story.ts")
    bundled = ["--bundle", "--platform=node", "--format=esm", f"--outfile={home / 'story.mjs'}"]
    subprocess.run(
        [programs / "esbuild/bin/esbuild", home / "story.ts", *bundled, "--log-level=error"], check=True
    )
    return run_node(home, home / "story.mjs", **environment)


def run_node(home: Path, *words: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [node(), *words], cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_the_document_needs_no_token(rest: Rest) -> None:
    assert (await rest.ask("GET", "/openapi.json")).status == 200
