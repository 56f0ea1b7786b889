"""A marketplace that has been open for some weeks: every page has something to show, and every kind of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import ams_local
from aiokafka import AIOKafkaProducer
from ams.identity.v1.notifications_pb2 import Notification, ReportReady
from ams_common import topics
from ams_common.ids import uuid7
from ams_common.testing.eventually import eventually
from ams_local import distribution, history, tools
from ams_local.mail import REFUSED_DOMAIN
from ams_local.rest import JSON, People, Rest

from support import docker_images, upstream_api
from support.docker_images import Layout
from support.running_system import ADMIN_EMAIL, RunningSystem
from support.trade import consume, new_service, per_request

_DAYS = 45
_TIERED: JSON = {
    "currencyCode": "EUR",
    "components": [
        {
            "meter": "REQUESTS",
            "graduated": {
                "tiers": [
                    {"upTo": "500", "unitAmount": {"nanos": 20_000_000}},
                    {"unitAmount": {"nanos": 5_000_000}, "flatAmount": {"units": "2"}},
                ]
            },
        },
        {"meter": "MEGABYTES", "packages": {"size": "10", "amount": {"nanos": 50_000_000}}},
        {"monthlyFee": {"amount": {"units": "4", "nanos": 990_000_000}}},
    ],
    "chargeRule": {"isClientErrorFree": True},
}
_PRICES = {"Currency": _TIERED, "Word Count": per_request(500_000), "Quotes": per_request(1_000_000)}
_FILES = Path(ams_local.__file__).parent / "documents"
_DOCUMENTS = {"Currency": _FILES / "currency.yaml", "Word Count": _FILES / "word-count.json"}
LONG_NAME = "Northern and Western Hemisphere Translation, Transliteration & Localisation"


@dataclass(frozen=True, slots=True)
class DemoData:
    """Who is there, by what they are here for: "busy consumer"; and the ids that pages are about."""

    emails: Mapping[str, str]
    ids: Mapping[str, str]

    def path(self, path: str) -> str:
        """With the ids put in: "/admin/services/{service}"."""
        return path.format_map(self.ids)


async def build(system: RunningSystem, kafka_bootstrap: str, directory: Path) -> DemoData:
    """Takes some seconds. `directory`: for the images that are pushed."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as http, upstream_api.serving() as upstream:
        people = system.people(http)
        builder = _Builder(system, people, http, upstream.base_url)
        return await builder.build(kafka_bootstrap, directory)


class _Builder:
    def __init__(
        self, system: RunningSystem, people: People, http: aiohttp.ClientSession, upstream_url: str
    ) -> None:
        self._system = system
        self._people = people
        self._http = http
        self._upstream_url = upstream_url
        self._ids: dict[str, str] = {}

    async def build(self, kafka_bootstrap: str, directory: Path) -> DemoData:
        admin = await self._people.sign_in(ADMIN_EMAIL)
        numbers = await self._people.register_merchant(admin, "mara@numbers.example", "Numbers Ltd", "Mara")
        words = await self._people.register_merchant(admin, "otto@words.example", "Words & Co", "Otto Lind")
        await self._people.register_merchant(admin, "new@merchant.example", "Brand New Ltd", "Nele")
        await admin.post("/invites", email="invited@merchant.example")
        await admin.post("/invites", email=f"mistyped@{REFUSED_DOMAIN}")
        services = {
            name: await self._publish(admin, owner, name=name, price=price)
            for owner, (name, price) in zip((numbers, numbers, words), _PRICES.items(), strict=True)
        }
        await self._set_forwarding(numbers, services["Currency"]["serviceId"])
        await self._announce_price(numbers, services["Currency"]["serviceId"])
        await self._change_document(numbers, services["Word Count"]["serviceId"])
        services["long"] = await self._publish(admin, words, name=LONG_NAME, description="Translates. " * 40)
        await self._leave_undecided(admin, numbers)
        await self._leave_the_marketplace(admin, numbers)
        renderer = await self._publish_images(admin, numbers, directory)
        self._ids |= {"service": services["Currency"]["serviceId"], "slug": services["Currency"]["slug"]}
        self._ids |= {"docker_service": renderer["serviceId"], "docker_slug": renderer["slug"]}
        carla = await self._people.register_consumer("carla@shop.example", "Carla Rossi")
        devon = await self._people.register_consumer("devon@studio.example", "Devon Blake")
        await self._people.register_consumer("new@consumer.example", "Nora New")
        granted = [*services.values(), renderer]
        await self._use(admin, carla, granted, kafka_bootstrap)
        await self._use(admin, devon, [services["Quotes"]], kafka_bootstrap)
        await self._ask_in_vain(admin, numbers, devon, services["Currency"])
        self._ids["denied_service"] = services["Word Count"]["serviceId"]
        self._ids["denied_slug"] = services["Word Count"]["slug"]
        await self._deny(admin, devon, services["Word Count"])
        await self._share(admin, carla, devon, [services["Currency"], services["Quotes"]], renderer)
        await self._fill_in(admin, kafka_bootstrap, numbers, carla)
        await self._watch_project(carla)
        await self._fall_out(admin, words_service=services["Quotes"])
        await self._leave_unapplied(admin, kafka_bootstrap)
        emails = {
            "admin": ADMIN_EMAIL,
            "busy merchant": "mara@numbers.example",
            "new merchant": "new@merchant.example",
            "suspended merchant": "sam@spam.example",
            "busy consumer": "carla@shop.example",
            "new consumer": "new@consumer.example",
            "denied consumer": "devon@studio.example",
            "blocked consumer": "bob@blocked.example",
            "project viewer": "vera@shop.example",
            "invited consumer": "mika@shop.example",
        }
        return DemoData(emails, self._ids)

    async def _publish(self, admin: Rest, owner: Rest, **service: Any) -> JSON:
        made = await owner.post_eventually("/services", **new_service(self._upstream_url, **service))
        if (document := _DOCUMENTS.get(made["name"])) is not None:
            path = f"/services/{made['serviceId']}/openapi-document"
            await owner.post_eventually(path, content=document.read_text())
        await owner.post(f"/services/{made['serviceId']}:submit")
        return await admin.post(f"/services/{made['serviceId']}:approve")

    async def _set_forwarding(self, owner: Rest, service_id: str) -> None:
        """A service with everything that a merchant can set."""
        origins = ["https://app.shop.example", "https://checkout.of-a-rather-long-name.shop.example:8443"]
        forwarding = {
            "firstByteTimeoutS": 90,
            "corsOrigins": origins,
            "passesCookies": True,
            "showsCosts": True,
            "quotaPerDay": 100_000,
            "quotaPerMonth": 1_000_000,
        }
        path = f"/services/{service_id}"
        await owner.patch(path, updateMask="forwarding", forwarding=forwarding)
        await owner.post(f"{path}:setUpstreamCredential", headerName="X-Shop-Key", value="of the upstream")
        await owner.post(f"{path}:rotateSigningKey")

    async def _change_document(self, owner: Rest, service_id: str) -> None:
        """What waits has names that are as long as merchants make them."""
        path = f"/services/{service_id}/openapi-document"
        document = json.loads(_DOCUMENTS["Word Count"].read_text())
        long_name = "identifier_of_a_collection_of_texts_in_one_language"
        operation = document["paths"]["/count"]["post"]
        schema = {
            "type": "string",
            "pattern": "^[a-z]{2}(?:-[A-Z]{2})?(?:-[A-Za-z0-9]{5,8})*$",
            "maxLength": 35,
        }
        parameter = {"name": long_name, "in": "path", "required": True, "schema": schema}
        added = {**operation, "operationId": "countAll", "deprecated": True, "parameters": [parameter]}
        added["description"] = "Counts every text. " * 20
        document["paths"][f"/collections/{{{long_name}}}/texts:count-each-of-them"] = {"post": added}
        await owner.post_eventually(path, content=json.dumps(document))

    async def _announce_price(self, owner: Rest, service_id: str) -> None:
        """Another one from next month on."""
        first = (datetime.now(UTC).replace(day=1) + timedelta(days=32)).replace(day=1)
        price = per_request(15_000_000)
        await owner.post(f"/services/{service_id}/prices", price=price, startsOn=f"{first:%Y-%m-%d}")

    async def _leave_undecided(self, admin: Rest, owner: Rest) -> None:
        """One service of each status before a listing."""
        for status in ("draft", "pending", "rejected"):
            body = new_service(self._upstream_url, name=f"Tax Rates {status}", tags=["finance", "tax"])
            service_id = (await owner.post("/services", **body))["serviceId"]
            self._ids[f"{status}_service"] = service_id
            if status != "draft":
                await owner.post(f"/services/{service_id}:submit")
            if status == "rejected":
                await admin.post(f"/services/{service_id}:reject", reason="The documentation link is dead.")

    async def _leave_the_marketplace(self, admin: Rest, owner: Rest) -> None:
        """A service that is private, one that is suspended, and one that is retired."""
        private = await self._publish(
            admin, owner, name="Beta Rates", visibility="PRIVATE", categories=["finance", "data"]
        )
        self._ids["private_service"] = private["serviceId"]
        for note in ("Example Ltd.", "The partners of a company with a rather long name"):
            made = await owner.post(
                f"/services/{private['serviceId']}/invitations", note=note, maxUses=5, validDays=30
            )
            self._ids["invitation_token"] = made["token"]
        suspended = await self._publish(admin, owner, name="Odd Rates")
        self._ids["suspended_service"] = suspended["serviceId"]
        await admin.post(
            f"/services/{suspended['serviceId']}:suspend", reason="Its answers are those of last year."
        )
        retired = await owner.post("/services", **new_service(self._upstream_url, name="Old Rates"))
        self._ids["retired_service"] = retired["serviceId"]
        await owner.post(f"/services/{retired['serviceId']}:retire")

    async def _publish_images(self, admin: Rest, owner: Rest, directory: Path) -> JSON:
        service = await self._publish(
            admin,
            owner,
            name="Invoice Renderer",
            type="DOCKER",
            baseUrl="",
            price=per_request(250_000_000),
            imageType="BATCH_PROCESSOR",
            runtimeParameters=[
                {"name": "AMS_API_KEY", "description": "Your key", "isRequired": True, "isSecret": True},
                {"name": "PAGE_SIZE", "description": "Of the documents", "defaultValue": "A4"},
            ],
        )
        token = await owner.post_eventually("/push-tokens", serviceId=service["serviceId"])
        repository = f"{token['registry']}/{token['pushToken']['repository']}"
        for version in ("1.0.0", "1.1.0", "2.0.0"):
            layout = Layout(directory / version, iter([version.encode() * 400_000]))
            tools.find(distribution.PROGRAM)
            pushed = await docker_images.push(layout, f"{repository}:{version}", token["secret"])
            assert pushed.succeeded, pushed.text
        images = (await owner.get("/merchant/images"))["images"]
        oldest = next(image for image in images if image["tag"] == "1.0.0")
        await owner.post(f"/images/{oldest['imageId']}:deprecate")
        return service

    async def _use(self, admin: Rest, consumer: Rest, services: Sequence[JSON], kafka_bootstrap: str) -> None:
        """Access to all of them, keys, and a call with each."""
        for service in services:
            asked = await consumer.post_eventually(
                "/access-requests", serviceId=service["serviceId"], note="For the shop"
            )
            await admin.post(f"/access-requests/{asked['accessRequestId']}:approve")
        callable_ones = [service for service in services if service["type"] == "API"]
        for name in ("Production backend", "Laptop"):
            made = await consumer.post(
                "/keys",
                name=name,
                description="Used by the nightly import; ask Ann before revoking.",
                serviceIds=[service["serviceId"] for service in services],
                ttlDays=90,
            )
            self._ids.setdefault("key", made["key"]["keyId"])
            for service in callable_ones:
                await self._call(made["secret"], service["slug"])
        retired = await consumer.post(
            "/keys", name="Retired", serviceIds=[services[0]["serviceId"]], ttlDays=1
        )
        await consumer.post(f"/keys/{retired['key']['keyId']}:revoke")
        self._ids.setdefault("revoked_key", retired["key"]["keyId"])

    async def _share(
        self, admin: Rest, owner: Rest, manager: Rest, services: Sequence[JSON], asked_for: JSON
    ) -> None:
        """A project of several people, with a used key, and a request, invitations and an offer that wait."""
        made = await owner.post("/projects", name="Checkout", description="Prices in the shop and its app.")
        project_id = self._ids["project"] = made["projectId"]
        viewer = await self._people.register_consumer("vera@shop.example", "Vera Lund-Papadopoulou")
        await self._people.register_consumer("mika@shop.example", "Mika Sato")
        for person, email, role in (
            (manager, "devon@studio.example", "PROJECT_MANAGER"),
            (viewer, "vera@shop.example", "PROJECT_VIEWER"),
        ):
            invited = await self._invite(owner, project_id, email, role)
            await person.post(f"/project-invitations/{invited['invitationId']}:accept")
        self._ids["invitation"] = (
            await self._invite(owner, project_id, "mika@shop.example", "PROJECT_MEMBER")
        )["invitationId"]
        await self._invite(
            owner,
            project_id,
            "somebody.with-a-long-address@of-a-rather-long-company-name.example",
            "PROJECT_VIEWER",
        )
        self._ids["manager"] = (await manager.get("/me"))["userId"]
        for service in services:
            asked = await owner.post_eventually(
                "/access-requests", serviceId=service["serviceId"], projectId=project_id
            )
            await admin.post(f"/access-requests/{asked['accessRequestId']}:approve")
        await owner.post("/access-requests", serviceId=asked_for["serviceId"], projectId=project_id)
        key = await manager.post_eventually(
            "/keys",
            name="Checkout, production",
            serviceIds=[service["serviceId"] for service in services],
            ttlDays=90,
            projectId=project_id,
        )
        self._ids["project_key"] = key["key"]["keyId"]
        for service in services:
            await self._call(key["secret"], service["slug"])
        await owner.post(f"/projects/{project_id}:offer", userId=self._ids["manager"])

    async def _invite(self, owner: Rest, project_id: str, email: str, role: str) -> JSON:
        invited = await owner.post(f"/projects/{project_id}/invitations", email=email, role=role)
        # Read, so that nobody looks for a one-time code in it.
        await self._people.mail.next_invite(email)
        return invited

    async def _watch_project(self, owner: Rest) -> None:
        await owner.post(
            "/alert-rules",
            name="A busy day at the checkout",
            metric="REQUEST_COUNT",
            period="ALERT_DAY",
            thresholds=["1000", "100000"],
            projectId=self._ids["project"],
        )

    async def _call(self, secret: str, slug: str) -> None:
        async def answered() -> bool:
            return (await consume(self._http, self._system.gateway_url, secret, slug)).status == 200

        await eventually(answered)

    async def _deny(self, admin: Rest, consumer: Rest, service: JSON) -> None:
        denied = await consumer.post_eventually("/access-requests", serviceId=service["serviceId"])
        await admin.post(
            f"/access-requests/{denied['accessRequestId']}:deny", reason="Tell us what it is for."
        )

    async def _ask_in_vain(self, admin: Rest, owner: Rest, consumer: Rest, service: JSON) -> None:
        await self._deny(admin, consumer, service)
        await consumer.post("/access-requests", serviceId=service["serviceId"], note="A currency converter")

    async def _fill_in(self, admin: Rest, kafka_bootstrap: str, owner: Rest, consumer: Rest) -> None:
        """The weeks before, and invoices of them."""
        prefix = self._system.topic_prefix
        calls = await history.metered(kafka_bootstrap, prefix, 12)
        sent = len(await history.repeat(kafka_bootstrap, prefix, calls, _DAYS))

        async def is_counted() -> bool:
            usage = await admin.get("/admin/usage", start=_ago(_DAYS + 1), end=_ago(-1), granularity="DAY")
            return int(usage["total"]["requests"]) == sent + len(calls)

        await eventually(is_counted, timeout_s=60)
        last_month = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")

        async def is_billed() -> bool:
            spend = await consumer.get("/consumer/spend", period=last_month)
            return bool(spend.get("lines"))

        await eventually(is_billed)
        await self._issue(admin, owner, consumer)
        await self._look_back(owner, consumer)

    async def _look_back(self, owner: Rest, consumer: Rest) -> None:
        """A merchant's consumer, a report of it that is shared, and alerts."""
        usage = await owner.get("/merchant/usage", groupBy="CONSUMER")
        self._ids["pseudonym"] = usage["groups"][0]["group"]
        today = datetime.now(UTC).date()
        self._ids["today"] = today.isoformat()
        days = {"firstDay": f"{today - timedelta(days=_DAYS)}", "lastDay": f"{today}"}
        asked = [
            await owner.post(
                "/reports", **days, format="CSV", detail="BY_DAY", consumer=self._ids["pseudonym"]
            ),
            await owner.post("/reports", **days, format="PDF", detail="BY_DAY"),
            await consumer.post("/reports", **days, format="PARQUET", detail="BY_HOUR"),
        ]

        async def is_made() -> bool:
            made = [
                await owner.get(f"/reports/{asked[0]['reportId']}"),
                await owner.get(f"/reports/{asked[1]['reportId']}"),
                await consumer.get(f"/reports/{asked[2]['reportId']}"),
            ]
            return all(each["status"] == "READY" for each in made)

        await eventually(is_made, timeout_s=60)
        await owner.post(f"/reports/{asked[0]['reportId']}:share")
        for who, more in ((owner, {"consumer": self._ids["pseudonym"]}), (consumer, {})):
            await who.post(
                "/alert-rules",
                name="A busy day",
                metric="REQUEST_COUNT",
                period="ALERT_DAY",
                thresholds=["1", "100000"],
                sendsMail=True,
                **more,
            )

    async def _issue(self, admin: Rest, owner: Rest, consumer: Rest) -> None:
        """Last month's invoices, one of them corrected; this month's are drafts."""
        last_day = datetime.now(UTC).replace(day=1) - timedelta(days=1)
        run = await admin.post("/invoices:issue", lastDay=f"{last_day:%Y-%m-%d}", role="ADMIN")
        self._ids["run"] = run["invoiceRunId"]

        async def is_done() -> bool:
            return str((await admin.get(f"/invoice-runs/{run['invoiceRunId']}"))["status"]) == "RUN_DONE"

        await eventually(is_done)
        own_run = await owner.post("/invoices:issue", lastDay=f"{last_day:%Y-%m-%d}", role="MERCHANT")
        self._ids["own_run"] = own_run["invoiceRunId"]
        self._ids["this_month"] = f"{datetime.now(UTC):%Y-%m}"
        merchant_id = (await owner.get("/me"))["userId"]
        issued = (await consumer.get("/consumer/invoices", merchantId=merchant_id))["invoices"]
        self._ids["merchant_invoice"] = self._ids["consumer_invoice"] = issued[0]["invoiceId"]
        credit = {"amount": {"currencyCode": "EUR", "units": "1"}, "reason": "Down for an hour on the 12th."}
        note = await owner.post(f"/invoices/{issued[0]['invoiceId']}:credit", **credit)
        self._ids["credit_note"] = note["invoiceId"]
        await owner.post(f"/invoices/{issued[0]['invoiceId']}:send")

        async def has_draft() -> list[JSON]:
            drafts = await owner.get("/merchant/invoices", status="INVOICE_DRAFT")
            return list(drafts.get("invoices", []))

        self._ids["draft"] = (await eventually(has_draft))[0]["invoiceId"]

    async def _fall_out(self, admin: Rest, words_service: JSON) -> None:
        """A merchant suspended, a consumer blocked."""
        spam = await self._people.register_merchant(admin, "sam@spam.example", "Spam Ltd", "Sam Spam")
        await self._publish(admin, spam, name="Cheap Ads")
        blocked = await self._people.register_consumer("bob@blocked.example", "Bob Blocked")
        await blocked.post_eventually("/access-requests", serviceId=words_service["serviceId"])
        merchants = {one["email"]: one for one in (await admin.get("/merchants"))["merchants"]}
        consumers = {one["email"]: one for one in (await admin.get("/consumers"))["consumers"]}
        self._ids["merchant"] = merchants["mara@numbers.example"]["merchantId"]
        self._ids["consumer"] = consumers["carla@shop.example"]["consumerId"]
        self._ids["suspended"] = merchants["sam@spam.example"]["merchantId"]
        self._ids["blocked"] = consumers["bob@blocked.example"]["consumerId"]
        await admin.post(f"/merchants/{self._ids['suspended']}:suspend", reason="Its calls went nowhere.")
        await admin.post(f"/consumers/{self._ids['blocked']}:block", reason="Shared a key in public.")

    async def _leave_unapplied(self, admin: Rest, kafka_bootstrap: str) -> None:
        """Notifications to people whom nobody knows, one of them dismissed."""
        topic = self._system.topic_prefix + topics.NOTIFICATIONS
        async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
            for number in range(3):
                ready = ReportReady(report_id=f"r{number}", first_day="2026-11-01", last_day="2026-11-30")
                lost = Notification(
                    notification_id=f"lost/{number}", user_id=str(uuid7()), report_ready=ready
                )
                await producer.send_and_wait(topic, lost.SerializeToString(), key=b"nobody")

        async def kept() -> list[JSON]:
            waiting = (await admin.get("/admin/dead-letters/identity"))["deadLetters"]
            return list(waiting) if len(waiting) == 3 else []

        letters = await eventually(kept)
        dismissed = letters[0]["deadLetterId"]
        await admin.post(f"/admin/dead-letters/identity/{dismissed}:dismiss", reason="Sent by a script.")


def _ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()
