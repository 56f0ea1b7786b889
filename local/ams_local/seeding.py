"""Fills the demo marketplace through REST and the gateway only, as its people would: what is there stays."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from ams_common.prices import price_message
from ams_common.testing.eventually import eventually
from google.protobuf.json_format import MessageToDict

from ams_local import demo
from ams_local.daemons import StartError
from ams_local.keyring import Keyring
from ams_local.rest import JSON, People, Rest

Say = Callable[[str], None]
OFFERS_TIMEOUT_S = 30
_KEY_MARGIN = timedelta(days=1)
_DOCUMENTS = Path(__file__).parent / "documents"
_PROJECT_KEY = "demo key of the project"


class Seeding:
    def __init__(
        self,
        people: People,
        upstream_url: str,
        keyring: Keyring,
        say: Say,
        merchants: Sequence[demo.Merchant] = demo.MERCHANTS,
        consumers: Sequence[demo.Consumer] = demo.CONSUMERS,
        project: demo.Project | None = demo.PROJECT,
    ) -> None:
        self._people = people
        self._upstream_url = upstream_url
        self._keyring = keyring
        self._say = say
        self._merchants = merchants
        self._consumers = consumers
        self._project = project

    async def run(self, admin_email: str) -> bool:
        """Whether a demo key was made just now, rather than at an earlier start."""
        admin = await self._people.sign_in(admin_email)
        merchants = await _by_email(admin, "/merchants", "merchants")
        for merchant in self._merchants:
            await self._offer(admin, merchant, merchants.get(merchant.email))
        services = await self._await_offers()
        consumers = await _by_email(admin, "/consumers", "consumers")
        fresh = [
            await self._equip(admin, consumer, consumers.get(consumer.email), services)
            for consumer in self._consumers
        ]
        if self._project is not None:
            await self._share(admin, self._project, services)
        await self._govern(admin)
        return fresh[0]

    async def _govern(self, admin: Rest) -> None:
        """Somebody is invited to each role that comes by invite, and a setting has a history."""
        for role, (email, note) in (("MERCHANT", demo.INVITED_MERCHANT), ("ADMIN", demo.INVITED_ADMIN)):
            invites = await admin.list_all("/invites", "invites", role=role)
            if all(invite["email"] != email for invite in invites):
                await admin.post("/invites", email=email, note=note, role=role)
        settings = await admin.get("/platform-settings")
        if not int(settings.get("version", 0)):
            await admin.patch(
                "/platform-settings",
                updateMask="maxServices",
                maxServices=50,
                reason="No merchant has more than a dozen; more is to be talked about first.",
            )

    async def _offer(self, admin: Rest, merchant: demo.Merchant, known: JSON | None) -> None:
        """The merchant's services stand in the marketplace."""
        active = set()
        if known:
            listed = await admin.list_all("/services", "services", merchantId=known["merchantId"])
            active = {service["slug"] for service in listed if service["status"] == "ACTIVE"}
        missing = [offer for offer in merchant.offers if offer.slug not in active]
        if not missing:
            return
        if known:
            api = await self._people.sign_in(merchant.email)
        else:
            self._say(f"{merchant.company_name} is invited and registers")
            api = await self._people.register_merchant(
                admin, merchant.email, merchant.company_name, merchant.name
            )
            if merchant.about:
                links = [{"label": "Website", "url": merchant.website}]
                mask = "about,links"
                await api.patch("/merchant/profile", updateMask=mask, about=merchant.about, links=links)
        begun = {service["slug"]: service for service in await api.list_all("/merchant/services", "services")}
        for offer in missing:
            service_id = await self._publish(admin, api, offer, begun.get(offer.slug))
            if offer.revised:
                # Something of each kind waits for the admin.
                await api.patch(
                    f"/services/{service_id}", updateMask=",".join(offer.revised), **offer.revised
                )

    async def _publish(self, admin: Rest, merchant: Rest, offer: demo.Offer, begun: JSON | None) -> str:
        """The service's id."""
        self._say(f"the service “{offer.name}” is published and approved")
        service = begun or await merchant.post_eventually("/services", **self._description(offer))
        path = f"/services/{service['serviceId']}"
        if service["status"] in ("DRAFT", "REJECTED"):
            if offer.document:
                content = (_DOCUMENTS / offer.document).read_text()
                await merchant.post_eventually(f"{path}/openapi-document", content=content)
            await merchant.post(f"{path}:submit")
        await admin.post(f"{path}:approve")
        return str(service["serviceId"])

    def _description(self, offer: demo.Offer) -> JSON:
        return {
            "name": offer.name,
            "description": offer.description,
            "type": offer.type,
            "baseUrl": f"{self._upstream_url}{offer.path}" if offer.type == "API" else "",
            "documentationUrl": f"https://docs.example/{offer.slug}",
            "version": "1.0.0",
            "tags": list(offer.tags),
            "price": MessageToDict(price_message(offer.price)),
            "rateLimitPerMinute": offer.rate_limit_per_minute,
            "forwarding": dict(offer.forwarding),
            **offer.metadata,
        }

    async def _await_offers(self) -> dict[str, str]:
        """The marketplace's service ids by slug. An approved service stands there once its merchant's
        standing has come over from identity-svc, a moment later."""
        wanted = {
            offer.slug
            for merchant in self._merchants
            for offer in merchant.offers
            if offer.metadata.get("visibility") != "PRIVATE"
        }

        async def listed() -> dict[str, str]:
            services = await self._people.rest.list_all("/marketplace/services", "services")
            by_slug = {service["slug"]: str(service["serviceId"]) for service in services}
            return by_slug if wanted <= by_slug.keys() else {}

        try:
            return await eventually(listed, OFFERS_TIMEOUT_S)
        except TimeoutError:
            names = ", ".join(sorted(wanted))
            raise StartError(f"The marketplace doesn't show all of {names}.") from None

    async def _equip(
        self,
        admin: Rest,
        consumer: demo.Consumer,
        known: JSON | None,
        services: dict[str, str],
    ) -> bool:
        """The consumer has access and a key whose secret we keep. Whether the key is new."""
        if known and _is_kept(self._keyring, consumer.email):
            return False
        if known:
            api = await self._people.sign_in(consumer.email)
        else:
            self._say(f"{consumer.name} registers")
            api = await self._people.register_consumer(consumer.email, consumer.name)
        wanted = [services[slug] for slug in consumer.uses]
        await self._gain_access(admin, api, wanted)
        self._say(f"{consumer.name} makes an API key")
        made = await api.post_eventually(
            "/keys", name="Demo key", serviceIds=wanted, ttlDays=demo.KEY_TTL_DAYS
        )
        self._keyring.keep(f"demo key {consumer.email}", made["secret"])
        self._keyring.keep(f"demo key expiry {consumer.email}", made["key"]["expiresAt"])
        await self._show_settings(admin, api, consumer, services)
        return True

    async def _show_settings(
        self, admin: Rest, api: Rest, consumer: demo.Consumer, services: dict[str, str]
    ) -> None:
        """Keys that show what can be set about one, and a request that its merchant decides."""
        for key in consumer.other_keys:
            made = await api.post(
                "/keys",
                name=key.name,
                description=key.description,
                serviceIds=[services[slug] for slug in key.uses],
                ttlDays=demo.KEY_TTL_DAYS,
                allowedNetworks=list(key.networks),
            )
            path = f"/keys/{made['key']['keyId']}"
            if key.calls:
                rules = [{"methods": [method], "path": below} for method, below in key.calls]
                service_id = services[key.uses[0]]
                await api.post(f"{path}:setAllowedCalls", serviceId=service_id, allowedCalls=rules)
            if key.is_disabled:
                await api.post(f"{path}:disable")
        for slug in consumer.asks_for:
            service_id = services[slug]
            await admin.post_eventually(f"/services/{service_id}/access-policy", merchantApproves=True)
            await api.post_eventually(
                "/access-requests", serviceId=service_id, note="For our weekly newsletter"
            )

    async def _share(self, admin: Rest, project: demo.Project, services: dict[str, str]) -> None:
        """A project with members in each role, an invitation and a request that wait, and a key."""
        owner = await self._people.sign_in(project.owner_email)
        listed = await owner.list_all("/projects", "projects")
        if any(each["name"] == project.name for each in listed):
            return
        self._say(f"the project “{project.name}” is made, and {len(project.members)} others join it")
        made = await owner.post("/projects", name=project.name, description=project.description)
        project_id = made["projectId"]
        members = [await self._join(owner, project_id, member) for member in project.members]
        await self._invite(owner, project_id, project.invited)
        wanted = [services[slug] for slug in project.uses]
        await self._gain_access(admin, owner, wanted, project_id)
        await owner.post_eventually(
            "/access-requests",
            serviceId=services[project.asks_for],
            projectId=project_id,
            note="To be faster",
        )
        key = await members[0].post_eventually(
            "/keys", name="Checkout", serviceIds=wanted, ttlDays=demo.KEY_TTL_DAYS, projectId=project_id
        )
        self._keyring.keep(_PROJECT_KEY, key["secret"])

    async def _join(self, owner: Rest, project_id: str, member: demo.Member) -> Rest:
        """Invited, and accepted; registers where there is no such account."""
        person = await self._people.register_consumer(member.email, member.name)
        invited = await self._invite(owner, project_id, member)
        await person.post(f"/project-invitations/{invited['invitationId']}:accept")
        return person

    async def _invite(self, owner: Rest, project_id: str, member: demo.Member) -> JSON:
        path = f"/projects/{project_id}/invitations"
        invited = await owner.post(path, email=member.email, role=member.role)
        # Read, so that nobody looks for a one-time code in it.
        await self._people.mail.next_invite(member.email)
        return invited

    async def _gain_access(
        self, admin: Rest, consumer: Rest, service_ids: list[str], project_id: str = ""
    ) -> None:
        asked = {
            request["serviceId"]: request
            for request in await consumer.list_all("/consumer/access-requests", "accessRequests")
            if request["status"] in ("PENDING", "APPROVED")
            and "endedAt" not in request
            and request.get("projectId", "") == project_id
        }
        for service_id in service_ids:
            request = asked.get(service_id) or await consumer.post_eventually(
                "/access-requests", serviceId=service_id, projectId=project_id, note="For the demonstration"
            )
            if request["status"] == "PENDING":
                await admin.post(f"/access-requests/{request['accessRequestId']}:approve")


async def _by_email(admin: Rest, path: str, member: str) -> dict[str, JSON]:
    return {account["email"]: account for account in await admin.list_all(path, member)}


def _is_kept(keyring: Keyring, email: str) -> bool:
    """Whether we hold the consumer's key and it is good for another day."""
    expiry = keyring.find(f"demo key expiry {email}")
    if expiry is None:
        return False
    return datetime.fromisoformat(expiry) > datetime.now(UTC) + _KEY_MARGIN


async def consume(
    http: aiohttp.ClientSession, gateway_url: str, key: str, offer: demo.Offer
) -> tuple[int, str]:
    """Status and text of one call through the gateway, as the offer's example shows it."""
    headers = {"Authorization": f"Bearer {key}"}
    if offer.content is not None:
        headers["Content-Type"] = "text/plain; charset=utf-8"
    url = f"{gateway_url}/api/consume/{offer.slug}{offer.example}"
    async with http.request(offer.method, url, headers=headers, data=offer.content) as response:
        return response.status, await response.text()


async def send_traffic(http: aiohttp.ClientSession, gateway_url: str, keyring: Keyring, calls: int) -> None:
    """Calls each consumer's services in turn."""
    users = [
        (keyring.find(f"demo key {consumer.email}") or "", demo.offer(slug))
        for consumer in demo.CONSUMERS
        for slug in consumer.uses
    ]
    users += [(keyring.find(_PROJECT_KEY) or "", demo.offer(slug)) for slug in demo.PROJECT.uses]
    for number in range(calls):
        await consume(http, gateway_url, *users[number % len(users)])
