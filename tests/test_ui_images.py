"""Images at the web UI: what a consumer can pull and how, and what an admin sees before approving."""

import re
import secrets
from html import unescape
from pathlib import Path

from ams_common.testing.eventually import eventually
from ams_local.rest import People
from support import docker_images
from support.docker_images import Layout
from support.image_trade import open_image_trade, open_publishing
from support.plain_browser import Browser
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.signed_in_browser import sign_in


def layout(directory: Path, text: str) -> Layout:
    return Layout(directory / secrets.token_hex(4), iter([text.encode() * 1000]))


async def test_a_consumer_sees_what_it_can_pull_and_what_to_type(
    system: RunningSystem, people: People, tmp_path: Path
) -> None:
    tag = secrets.token_hex(3)
    trade = await open_image_trade(people, ADMIN_EMAIL, tag)
    service = trade.publishing.service
    pages = (
        "/dashboard/images",
        f"/dashboard/services/{service['serviceId']}",
        f"/marketplace/{service['slug']}",
    )
    consumer = await sign_in(system, people, f"puller-{tag}@example.com")
    for path in pages:
        page = consumer.get(path)
        assert (page.status, "docker pull" in page.text) == (200, False), path
        assert "the merchant has pushed none" in page.text, path

    image = layout(tmp_path, tag)
    pushed = await docker_images.push(image, trade.image("1.0.0"), trade.publishing.secret)
    assert pushed.succeeded, pushed.text
    for path in pages:
        text = consumer.get(path).text
        for told in (f"docker pull {trade.image('1.0.0')}", "docker login ", "--username ams", "API key"):
            assert told in text, (path, told)
        assert image.digest in text and "Connected" in text and "Active" in text, path

    fields = {"name": "Puller", "service_ids": service["serviceId"], "ttl_days": "30"}
    made = consumer.post("/dashboard/api-keys", "/dashboard/api-keys/new", **fields).text
    secret = re.findall(r"ams_live_[A-Za-z0-9]{30,}", made)[0]
    [sample] = re.findall(r'data-copy="([^"]*)" aria-label="Copy Docker"', made)
    login, pull = unescape(sample).splitlines()
    registry = trade.publishing.registry
    assert login == f'echo "{secret}" | docker login {registry} --username ams --password-stdin'
    assert pull == f"docker pull {trade.image('1.0.0')}"

    await people.register_consumer(f"looker-{tag}@example.com")
    looker = await sign_in(system, people, f"looker-{tag}@example.com")
    for browser in (looker, Browser(system.port("ams-bff"))):
        text = browser.get(f"/marketplace/{service['slug']}").text
        assert "once you have access" in text
        assert "docker pull" not in text and image.digest not in text
    nothing = looker.get("/dashboard/images").text
    assert 'href="/marketplace?type=docker"' in nothing and "docker pull" not in nothing
    assert looker.get(f"/dashboard/images?service={service['serviceId']}").status == 200
    assert image.digest not in looker.get(f"/dashboard/images?service={service['serviceId']}").text
    assert consumer.get("/dashboard/images?service=not-an-id").status == 404

    await trade.admin.post(f"/merchants/{service['merchantId']}:suspend")

    async def is_withdrawn() -> bool:
        return "docker pull" not in consumer.get("/dashboard/images").text

    await eventually(is_withdrawn)


async def test_an_admin_sees_the_images_before_approving(
    system: RunningSystem, people: People, tmp_path: Path
) -> None:
    admin, tag = await people.sign_in(ADMIN_EMAIL), secrets.token_hex(3)
    publishing = await open_publishing(people, admin, tag)
    image = layout(tmp_path, tag)
    assert (await docker_images.push(image, f"{publishing.repository}:2.0.0", publishing.secret)).succeeded
    assert not (
        await docker_images.push(image, f"{publishing.repository}:latest", publishing.secret)
    ).succeeded
    service_id = publishing.service["serviceId"]
    await publishing.merchant.post(f"/services/{service_id}:submit")
    browser = await sign_in(system, people, ADMIN_EMAIL)
    for path in ("/admin", f"/admin/services/{service_id}"):
        text = browser.get(path).text
        for told in (":2.0.0", image.digest, "Connected", "not a semantic version"):
            assert told in text, (path, told)
