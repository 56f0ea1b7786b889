"""The first image (FR2-MERCH-02, FR3-CONS-05): pushed and pulled with skopeo and podman, as with
docker."""

import secrets
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from ams.usage.v1.events_pb2 import ForwardedTotal
from ams_common import topics
from ams_common.ids import uuid7
from ams_common.testing.eventually import eventually
from ams_local.rest import JSON, People, Rest
from support import docker_images
from support.docker_images import Layout, Podman
from support.image_trade import open_image_trade, open_publishing
from support.registry_client import pulled_tags
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import new_service


def layout(directory: Path, text: str = "hello", **manifest: Any) -> Layout:
    return Layout(directory / secrets.token_hex(4), iter([text.encode() * 1000]), **manifest)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """For podman, which wants at most 50 characters."""
    with tempfile.TemporaryDirectory(prefix="ams-", dir="/tmp") as directory:
        yield Path(directory)


async def change_row(system: RunningSystem, schema: str, statement: str, *values: object) -> None:
    connection = await asyncpg.connect(system.database_urls[schema])
    try:
        assert (await connection.execute(statement, *values)).endswith(" 1")
    finally:
        await connection.close()


async def audits(admin: Rest, resource_id: str, count: int) -> list[JSON]:
    """The records about the resource, once there are so many; in the order of their actions."""

    async def recorded() -> list[JSON]:
        answer = await admin.get("/audit-records", resourceId=resource_id)
        records: list[JSON] = answer.get("auditRecords", [])
        assert len(records) <= count, records
        return (
            sorted(records, key=lambda record: str(record["action"]), reverse=True)[:count]
            if len(records) == count
            else []
        )

    return await eventually(recorded)


async def test_a_pushed_image_is_pulled_metered_and_audited(
    system: RunningSystem, people: People, tmp_path: Path
) -> None:
    trade = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    image = layout(tmp_path)
    pushed = await docker_images.push(image, trade.image("1.0.0"), trade.publishing.secret)
    assert pushed.succeeded, pushed.text

    (shown,) = (await trade.publishing.merchant.get("/merchant/images"))["images"]
    assert (shown["status"], shown["tag"], shown["digest"]) == ("IMAGE_ACTIVE", "1.0.0", image.digest)
    assert int(shown["sizeBytes"]) == len(image.manifest) + image.config.size + image.layer.size
    (offered,) = (await trade.consumer.get("/consumer/images"))["images"]
    assert offered["pullCommand"] == f"docker pull {trade.image('1.0.0')}"

    pulled = await docker_images.pull(trade.image("1.0.0"), trade.secret, tmp_path / "pulled")
    assert pulled.succeeded, pulled.text
    assert (tmp_path / "pulled" / "blobs" / "sha256" / image.digest[7:]).read_bytes() == image.manifest

    async def used() -> JSON:
        usage = await trade.consumer.get("/consumer/usage")
        return usage if int(usage["total"].get("requests", 0)) else {}

    usage = await eventually(used)
    assert int(usage["total"]["requests"]) == 1

    async def billed() -> JSON:
        spend = await trade.consumer.get("/consumer/spend")
        return spend if spend.get("lines") else {}

    spend = await eventually(billed)
    assert [line["quantity"] for line in spend["lines"]] == ["1"]
    assert spend["totals"] == [{"currencyCode": "EUR", "units": "0", "nanos": 250_000_000}]

    push, pull = await audits(trade.admin, shown["imageId"], 2)
    assert (push["action"], push["details"]["push_token_id"]) == (
        "image.push",
        trade.publishing.token["pushTokenId"],
    )
    assert (pull["action"], pull["details"]["key_prefix"]) == ("image.pull", trade.key["keyPrefix"])
    again = await trade.publishing.merchant.get(f"/images/{shown['imageId']}")
    assert int(again["pulls"]) == 1


async def test_a_day_of_pulls_agrees_and_a_pull_hides_no_lost_call(
    system: RunningSystem, people: People, tmp_path: Path, kafka_bootstrap: str
) -> None:
    trade = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    assert (
        await docker_images.push(layout(tmp_path), trade.image("1.0.0"), trade.publishing.secret)
    ).succeeded
    for copy in ("first", "second"):
        assert (await docker_images.pull(trade.image("1.0.0"), trade.secret, tmp_path / copy)).succeeded

    async def days() -> list[JSON]:
        today = datetime.now(UTC).date()
        fields = {"firstDay": str(today - timedelta(days=1)), "lastDay": str(today), "role": "MERCHANT"}
        found: list[JSON] = (await trade.publishing.merchant.get("/reconciliation", **fields))["days"]
        return found

    def sums(found: list[JSON]) -> list[int]:
        return [sum(int(str(day[name])) for day in found) for name in ("forwarded", "recorded", "rated")]

    async def two_agree() -> list[JSON]:
        found = await days()
        return found if sums(found) == [2, 2, 2] and all(day["isReconciled"] for day in found) else []

    *_, day = await eventually(two_agree)
    # A gateway has forwarded a call that Kafka has lost.
    lost = ForwardedTotal(
        journal_id=uuid7().bytes,
        day=str(day["day"]),
        merchant_id=str(trade.publishing.service["merchantId"]),
        consumer_id=str(trade.key["consumerId"]),
        events=1,
    )
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
        await producer.send_and_wait(
            system.topic_prefix + topics.USAGE_FORWARDED,
            lost.SerializeToString(),
            key=lost.consumer_id.encode(),
        )

    async def told() -> list[JSON]:
        found = await days()
        return found if sums(found) == [3, 2, 2] else []

    *_, day = await eventually(told)
    assert not day["isReconciled"]
    named: Any = day["differences"]
    assert ("forwarded_not_recorded", "1") in [(each["code"], each["events"]) for each in named]


@pytest.mark.parametrize("form", ["oci", "v2s2"])
async def test_podman_logs_in_pushes_and_pulls(
    system: RunningSystem, people: People, short_path: Path, form: str
) -> None:
    trade = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    host, image, bad = trade.publishing.registry, trade.image("1.0.0"), trade.image("newest")
    merchant, consumer = Podman(short_path / "m"), Podman(short_path / "c")
    made = await merchant.make(image, secrets.token_bytes(100_000))
    assert made.succeeded, made.text
    assert not (await merchant.log_in(host, "wrong")).succeeded
    for podman, secret in ((merchant, trade.publishing.secret), (consumer, trade.secret)):
        done = await podman.log_in(host, secret)
        assert done.succeeded, done.text
    assert (await merchant("tag", image, bad)).succeeded
    refused = await merchant.push(bad, form)
    assert (refused.succeeded, "not a semantic version" in refused.text) == (False, True)
    pushed = await merchant.push(image, form)
    assert pushed.succeeded, pushed.text
    pulled = await consumer.pull(image)
    assert pulled.succeeded, pulled.text
    ids = [(await podman("images", "--no-trunc", "--quiet", image)).text for podman in (merchant, consumer)]
    assert ids[0] == ids[1] != ""
    assert await pulled_tags(system, trade.publishing.token["repository"]) == ["1.0.0"]


async def test_a_bad_version_fails_in_the_terminal_with_the_reason_and_shows_as_rejected(
    people: People, tmp_path: Path
) -> None:
    trade = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    publishing = trade.publishing
    latest = await docker_images.push(layout(tmp_path), trade.image("latest"), publishing.secret)
    assert not latest.succeeded
    assert 'The tag "latest" is not a semantic version' in latest.text
    licensed = layout(tmp_path, annotations={"io.ams.license-model": "for free"})
    wrong = await docker_images.push(licensed, trade.image("1.0.0"), publishing.secret)
    assert not wrong.succeeded
    assert "io.ams.license-model must be one of connected, time_limited" in wrong.text
    shown = (await publishing.merchant.get("/merchant/images"))["images"]
    assert {image["tag"]: image["status"] for image in shown} == {
        "latest": "IMAGE_REJECTED",
        "1.0.0": "IMAGE_REJECTED",
    }
    assert all(image["rejectionReason"] for image in shown)
    refused = await docker_images.pull(trade.image("latest"), trade.secret, tmp_path / "pulled")
    assert not refused.succeeded


async def test_a_version_keeps_its_content(people: People, tmp_path: Path) -> None:
    trade = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    first = layout(tmp_path)
    for _ in range(2):  # the same again is no harm
        assert (await docker_images.push(first, trade.image("1.0.0"), trade.publishing.secret)).succeeded
    other = await docker_images.push(layout(tmp_path, "other"), trade.image("1.0.0"), trade.publishing.secret)
    assert not other.succeeded
    assert "is there already with other content" in other.text


async def test_names_without_end_fill_no_audit_log(people: People, tmp_path: Path) -> None:
    trade = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    nowhere = [f"{trade.publishing.registry}/{secrets.token_hex(4)}/nowhere" for _ in range(3)]
    for name in nowhere:
        refused = await docker_images.pull(f"{name}:1.0.0", trade.secret, tmp_path / "pulled")
        assert "this API key has no access to it" in refused.text
    (denial,) = await audits(trade.admin, nowhere[0].partition("/")[2], 1)
    assert denial["details"]["key_id"] == trade.key["keyId"]
    for name in nowhere[1:]:
        answer = await trade.admin.get("/audit-records", resourceId=name.partition("/")[2])
        assert answer.get("auditRecords", []) == []


async def test_another_merchants_namespace_is_closed(people: People, tmp_path: Path) -> None:
    admin = await people.sign_in(ADMIN_EMAIL)
    mine = await open_publishing(people, admin, secrets.token_hex(3))
    theirs = await open_publishing(people, admin, secrets.token_hex(3))
    for image in (f"{theirs.repository}:1.0.0", f"{theirs.repository}/tool:1.0.0"):
        refused = await docker_images.push(layout(tmp_path), image, mine.secret)
        assert not refused.succeeded
        assert f"This push token is for {mine.token['repository']} only" in refused.text
    assert (await theirs.merchant.get("/merchant/images")).get("images", []) == []
    below = await docker_images.push(layout(tmp_path), f"{mine.repository}/tool:1.0.0", mine.secret)
    assert below.succeeded, below.text


async def test_expired_and_revoked_push_tokens_are_refused(
    system: RunningSystem, people: People, tmp_path: Path
) -> None:
    admin = await people.sign_in(ADMIN_EMAIL)
    publishing = await open_publishing(people, admin, secrets.token_hex(3))
    service_id = publishing.service["serviceId"]
    other = await publishing.merchant.post("/push-tokens", serviceId=service_id, ttlHours=1)
    await change_row(
        system,
        "registry",
        "UPDATE push_tokens SET created_at = created_at - interval '2 days',"
        " expires_at = expires_at - interval '2 days' WHERE push_token_id = $1",
        publishing.token["pushTokenId"],
    )
    image = f"{publishing.repository}:1.0.0"
    expired = await docker_images.push(layout(tmp_path), image, publishing.secret)
    assert not expired.succeeded
    assert "unauthorized" in expired.text.lower()
    assert (await docker_images.push(layout(tmp_path), image, other["secret"])).succeeded
    await publishing.merchant.post(f"/push-tokens/{other['pushToken']['pushTokenId']}:revoke")
    revoked = await docker_images.push(layout(tmp_path), image, other["secret"])
    assert not revoked.succeeded
    assert "unauthorized" in revoked.text.lower()
    statuses = [t["status"] for t in (await publishing.merchant.get("/push-tokens"))["pushTokens"]]
    assert statuses == ["PUSH_TOKEN_REVOKED", "PUSH_TOKEN_EXPIRED"]


async def test_a_push_token_is_for_ones_own_docker_service_and_shown_once(people: People) -> None:
    admin = await people.sign_in(ADMIN_EMAIL)
    mine = await open_publishing(people, admin, secrets.token_hex(3))
    theirs = await open_publishing(people, admin, secrets.token_hex(3))
    api = await mine.merchant.post("/services", **new_service("https://api.example/v1"))
    for service, status, code in (
        (theirs.service, 404, "service_not_found"),
        (api, 409, "service_not_docker"),
    ):
        refused = await mine.merchant.ask("POST", "/push-tokens", {"serviceId": service["serviceId"]})
        assert (refused.status, refused.body["code"]) == (status, code)
    wanted = {"serviceId": mine.service["serviceId"]}
    asked = [
        await mine.merchant.ask("POST", "/push-tokens", wanted, idempotency_key="once") for _ in range(2)
    ]
    first, again = (answer.body for answer in asked)
    assert first["secret"].startswith(first["pushToken"]["tokenPrefix"])
    assert (again["pushToken"], again.get("secret", "")) == (first["pushToken"], "")
    assert first["secret"] not in str(await mine.merchant.get("/push-tokens"))


async def test_logging_in_tells_good_credentials_from_bad(people: People, tmp_path: Path) -> None:
    trade = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    host = trade.publishing.registry
    for secret, is_good in ((trade.publishing.secret, True), (trade.secret, True), ("wrong", False)):
        done = await docker_images.log_in(host, secret, tmp_path / "auth.json")
        assert done.succeeded is is_good, done.text


async def test_only_a_consumer_with_a_grant_and_a_good_key_pulls(people: People, tmp_path: Path) -> None:
    trade = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    stranger = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    image = trade.image("1.0.0")
    assert (await docker_images.push(layout(tmp_path), image, trade.publishing.secret)).succeeded

    anonymous = await docker_images.pull(image, "", tmp_path / "anonymous")
    assert not anonymous.succeeded
    assert "unauthorized" in anonymous.text.lower()
    ungranted = await docker_images.pull(image, stranger.secret, tmp_path / "ungranted")
    assert not ungranted.succeeded
    assert "this API key has no access to it" in ungranted.text
    assert not (await docker_images.pull(image, stranger.secret, tmp_path / "again")).succeeded
    name = trade.publishing.token["repository"]
    (denial,) = await audits(trade.admin, name, 1)  # once a minute is enough
    assert (denial["action"], denial["actor"]) == ("image.pull_refused", stranger.key["consumerId"])
    assert denial["details"]["key_prefix"] == stranger.key["keyPrefix"]
    assert denial["details"]["reference"] == "1.0.0"
    assert "has no access to it" in denial["details"]["reason"]
    pushing = await docker_images.push(layout(tmp_path), trade.image("2.0.0"), trade.secret)
    assert not pushing.succeeded
    assert "An API key can't push" in pushing.text
    assert (await stranger.consumer.get("/consumer/images")).get("images", []) == []

    assert (await docker_images.pull(image, trade.secret, tmp_path / "good")).succeeded
    await trade.consumer.post(f"/keys/{trade.key['keyId']}:revoke")
    revoked = await docker_images.pull(image, trade.secret, tmp_path / "revoked")
    assert not revoked.succeeded
    assert "unauthorized" in revoked.text.lower()


async def test_a_deprecated_version_is_not_pulled_any_more(people: People, tmp_path: Path) -> None:
    trade = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    assert (
        await docker_images.push(layout(tmp_path), trade.image("1.0.0"), trade.publishing.secret)
    ).succeeded
    (shown,) = (await trade.publishing.merchant.get("/merchant/images"))["images"]
    await trade.publishing.merchant.post(f"/images/{shown['imageId']}:deprecate")
    refused = await docker_images.pull(trade.image("1.0.0"), trade.secret, tmp_path / "pulled")
    assert not refused.succeeded
    assert "taken out of use" in refused.text
    (denial,) = await audits(trade.admin, trade.publishing.token["repository"], 1)
    assert (denial["action"], denial["details"]["key_id"]) == ("image.pull_refused", trade.key["keyId"])
    assert (await trade.consumer.get("/consumer/images")).get("images", []) == []


async def test_a_consumer_is_offered_only_what_can_be_pulled(people: People, tmp_path: Path) -> None:
    trade = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    for number, version in enumerate(("1.0.0", "1.1.0")):
        pushed = await docker_images.push(
            layout(tmp_path, str(number)), trade.image(version), trade.publishing.secret
        )
        assert pushed.succeeded, pushed.text

    async def offered() -> list[str]:
        return [image["tag"] for image in (await trade.consumer.get("/consumer/images")).get("images", [])]

    async def offers(*tags: str) -> bool:
        return await offered() == list(tags)

    assert await offered() == ["1.1.0", "1.0.0"]
    old = next(
        image
        for image in (await trade.publishing.merchant.get("/merchant/images"))["images"]
        if image["tag"] == "1.0.0"
    )
    await trade.publishing.merchant.post(f"/images/{old['imageId']}:deprecate")
    assert await offered() == ["1.1.0"]
    merchant_id = trade.publishing.service["merchantId"]
    await trade.admin.post(f"/merchants/{merchant_id}:suspend", reason="A test")
    await eventually(lambda: offers())
    refused = await docker_images.pull(trade.image("1.1.0"), trade.secret, tmp_path / "refused")
    assert not refused.succeeded
    await trade.admin.post(f"/merchants/{merchant_id}:reinstate")
    await eventually(lambda: offers("1.1.0"))
