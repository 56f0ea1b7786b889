"""Keys that were found in public: reports that a code host has signed, and those that anybody hands in."""

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from ams.identity.v1.notifications_pb2 import Notification
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_DISABLED
from ams_common import apikeys
from ams_common.client import ServiceToken, open_channel
from ams_common.clock import from_timestamp, utc_now
from ams_common.database import Database
from ams_common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from keys_svc.exposure_notices import tell_all
from keys_svc.hand_in_limits import HandInLimits
from keys_svc.key_activity import KeyCosts
from keys_svc.secret_scanning import ScanningKeys, fetching, read_report
from keys_svc.store import Store

PLACE = "https://code.example/somebody/repository/blob/1/config.py"


class CodeHost:
    """A code host: its list of keys over HTTP, and reports that it signs."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.listed = {"first": self.key}
        self.asked = 0
        self.status = 200
        self.url = ""

    def list_of_keys(self) -> bytes:
        pem = {
            name: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            for name, key in self.listed.items()
        }
        keys = [
            {"key_identifier": name, "key": text.decode(), "is_current": True} for name, text in pem.items()
        ]
        return json.dumps({"public_keys": keys}).encode()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        answer = web.StreamResponse(status=self.status)
        await answer.prepare(request)
        # In pieces that arrive one by one, as any longer list does.
        text = self.list_of_keys()
        for start in range(0, len(text), 100):
            await answer.write(text[start : start + 100])
            await asyncio.sleep(0)
        await answer.write_eof()
        return answer

    def report(self, *found: Any, identifier: str = "first") -> dict[str, Any]:
        body = json.dumps(list(found)).encode()
        signature = self.key.sign(body, ec.ECDSA(SHA256()))
        return {
            "body": body,
            "key_identifier": identifier,
            "signature": base64.b64encode(signature).decode(),
        }


@pytest.fixture
async def host() -> Any:
    host = CodeHost()
    app = web.Application()
    app.router.add_get("/keys", host.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    host.url = f"http://127.0.0.1:{port}/keys"
    yield host
    await runner.cleanup()


@pytest.fixture
def scanning_keys(host: CodeHost) -> ScanningKeys:
    return ScanningKeys(fetching(host.url))


def found(token: str, url: str = PLACE) -> dict[str, str]:
    return {"token": token, "type": "ams_api_key", "url": url, "source": "content"}


@pytest.fixture
def notified(database: Database[Store], nobody_listens: str, written: Any) -> Callable[[], Any]:
    """`await notified()`: what owners are told once billing-svc was waited for in vain."""

    async def tell() -> list[Notification]:
        async with open_channel(nobody_listens) as away:
            costs = KeyCosts(away, ServiceToken(away, "keys-svc", "development-secret"))
            await tell_all(database, costs, utc_now)
            assert not await written.notifications("key_exposed")
            await tell_all(database, costs, lambda: utc_now() + timedelta(minutes=1))
        told: list[Notification] = await written.notifications("key_exposed")
        return told

    return tell


async def test_a_signed_report_disables_the_key_labels_it_and_tells_its_owner(
    nobody: Any, consumer: Any, new_key: Any, host: CodeHost, gateway: Any, notified: Any
) -> None:
    created = await new_key(consumer)
    made_up, junk = apikeys.generate().secret, "ams_live_junk"
    report = host.report(found(created.secret), found(made_up), found(junk))
    labels = (await nobody("ReportFoundKeys", **report)).labels
    assert [(each.token, each.is_key) for each in labels] == [
        (created.secret, True),
        (made_up, False),
        (junk, False),
    ]
    key = await consumer("GetKey", key_id=created.key.key_id)
    assert key.status == KEY_DISABLED
    snapshot = await gateway("GetKeySnapshot", key_hash=apikeys.hash_key(created.secret))
    assert snapshot.status == KEY_DISABLED
    [exposure] = (await consumer("ListExposures", key_id=key.key_id)).exposures
    assert (exposure.found_at, exposure.has_disabled) == (PLACE, True)
    [told] = await notified()
    assert told.user_id == str(consumer.user_id)
    assert (told.key_exposed.key_id, told.key_exposed.is_disabled) == (key.key_id, True)
    assert told.key_exposed.found_at == PLACE


async def test_an_owner_may_want_to_be_told_only(
    nobody: Any, consumer: Any, new_key: Any, host: CodeHost, notified: Any
) -> None:
    assert (await consumer("GetExposureChoice")).disables_found_keys
    assert not (await consumer("SetExposureChoice", disables_found_keys=False)).disables_found_keys
    created = await new_key(consumer)
    await nobody("ReportFoundKeys", **host.report(found(created.secret)))
    assert (await consumer("GetKey", key_id=created.key.key_id)).status == KEY_ACTIVE
    [told] = await notified()
    assert not told.key_exposed.is_disabled


async def test_the_same_find_is_told_of_once_and_enabling_lasts(
    nobody: Any, consumer: Any, new_key: Any, host: CodeHost, notified: Any
) -> None:
    created = await new_key(consumer)
    report = host.report(found(created.secret))
    await asyncio.gather(*(nobody("ReportFoundKeys", **report) for _ in range(5)))
    await consumer("EnableKey", key_id=created.key.key_id)
    assert [each.is_key for each in (await nobody("ReportFoundKeys", **report)).labels] == [True]
    assert (await consumer("GetKey", key_id=created.key.key_id)).status == KEY_ACTIVE
    assert len(await notified()) == 1


async def test_of_a_secret_that_was_replaced_only_the_overlap_ends(
    nobody: Any, consumer: Any, new_key: Any, host: CodeHost
) -> None:
    created = await new_key(consumer)
    await consumer("RotateKey", key_id=created.key.key_id, overlap_minutes=60)
    await nobody("ReportFoundKeys", **host.report(found(created.secret)))
    key = await consumer("GetKey", key_id=created.key.key_id)
    assert (key.status, key.HasField("previous_secret")) == (KEY_ACTIVE, False)
    assert [each.has_disabled for each in (await consumer("ListExposures", key_id=key.key_id)).exposures] == [
        True
    ]


async def test_what_opens_nothing_any_more_is_labelled_and_nobody_is_told(
    nobody: Any, consumer: Any, new_key: Any, host: CodeHost, written: Any
) -> None:
    created = await new_key(consumer)
    await consumer("RevokeKey", key_id=created.key.key_id)
    labels = (await nobody("ReportFoundKeys", **host.report(found(created.secret)))).labels
    assert [each.is_key for each in labels] == [True]
    assert await written.count("exposures") == 0


async def test_reports_that_the_host_has_not_signed_are_refused(
    nobody: Any, consumer: Any, new_key: Any, host: CodeHost
) -> None:
    created = await new_key(consumer)
    good = host.report(found(created.secret))
    other = CodeHost().report(found(created.secret))
    hostile = [
        other,
        good | {"body": good["body"] + b" "},
        good | {"signature": "AAAA"},
        good | {"signature": "not base64!"},
        good | {"key_identifier": "second"},
    ]
    for report in hostile:
        with pytest.raises(UnauthenticatedError) as refused:
            await nobody("ReportFoundKeys", **report)
        assert refused.value.code == "signature_invalid"
    assert (await consumer("GetKey", key_id=created.key.key_id)).status == KEY_ACTIVE


async def test_the_list_of_keys_is_asked_for_seldom_and_withdrawn_keys_end() -> None:
    host, now = CodeHost(), [0.0]
    answers: list[Any] = []

    async def fetch() -> bytes:
        answers.append(now[0])
        if host.status != 200:
            raise ValueError("away")
        return host.list_of_keys()

    keys = ScanningKeys(fetch, lambda: now[0])
    for _ in range(3):
        await keys.find("first")
    for _ in range(3):
        with pytest.raises(UnauthenticatedError):
            await keys.find("made up")
    assert answers == [0.0]
    now[0] = 31.0
    with pytest.raises(UnauthenticatedError):
        await keys.find("made up")
    assert answers == [0.0, 31.0]
    host.listed = {"second": host.key}
    now[0] = 4000.0
    with pytest.raises(UnauthenticatedError):
        await keys.find("first")
    await keys.find("second")
    host.status = 500
    now[0] = 30_000.0
    await keys.find("second")
    now[0] = 100_000.0
    with pytest.raises(UnavailableError):
        await keys.find("second")


async def test_without_a_code_host_no_report_is_taken() -> None:
    with pytest.raises(FailedPreconditionError) as refused:
        await ScanningKeys(fetching("")).find("first")
    assert refused.value.code == "secret_scanning_off"


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"[1]", b'[{"token": 1, "type": "x"}]', b'[{"type": "x"}]', b"\xff", b"[" * 100_000],
)
def test_what_is_no_report_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        read_report(body)
    assert refused.value.code == "report_invalid"


async def test_anybody_hands_a_key_in_and_learns_nothing(
    nobody: Any, consumer: Any, outsider: Any, new_key: Any, written: Any
) -> None:
    created = await new_key(consumer)
    day = (utc_now() - timedelta(days=400)).date().isoformat()
    answers = [
        await nobody("HandInKey", secret=secret, found_at="a chat", exposed_since=day)
        for secret in (f" {created.secret}\n", apikeys.generate().secret, "junk")
    ]
    assert len({str(answer) for answer in answers}) == 1
    assert (await consumer("GetKey", key_id=created.key.key_id)).status == KEY_DISABLED
    [exposure] = (await consumer("ListExposures", key_id=created.key.key_id)).exposures
    # Not before there was such a secret.
    assert exposure.exposed_since == created.key.created_at
    assert from_timestamp(exposure.reported_at) <= utc_now()
    with pytest.raises(NotFoundError):
        await outsider("ListExposures", key_id=created.key.key_id)
    assert created.secret not in str(await written.everything())


async def test_handing_in_is_limited(nobody: Any) -> None:
    for _ in range(10):
        await nobody("HandInKey", secret="x", found_at="a chat")
    with pytest.raises(ResourceExhaustedError) as refused:
        await nobody("HandInKey", secret="x", found_at="a chat")
    assert refused.value.code == "too_many_reports"


def test_one_client_shuts_no_other_out_and_a_minute_later_it_may_again() -> None:
    now = [0.0]
    limits = HandInLimits(lambda: now[0])
    for _ in range(10):
        limits.take("192.0.2.1")
    with pytest.raises(ResourceExhaustedError):
        limits.take("192.0.2.1")
    limits.take("192.0.2.2")
    now[0] = 60.0
    limits.take("192.0.2.1")
    for number in range(299):
        limits.take(str(number))
    with pytest.raises(ResourceExhaustedError):
        limits.take("one too many in all")
