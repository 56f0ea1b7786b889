"""Fills the demo marketplace through REST and the gateway only, as its people would: what is there stays."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ams_local import demo
from ams_local.keyring import Keyring
from ams_local.processes import StartError
from ams_local.rest import Api, until
from ams_local.web import Answer, call

Say = Callable[[str], None]
OFFERS_TIMEOUT_S = 30
_KEY_MARGIN = timedelta(days=1)


class Seeding:
    def __init__(
        self,
        anybody: Api,
        upstream_url: str,
        keyring: Keyring,
        say: Say,
        merchants: Sequence[demo.Merchant] = demo.MERCHANTS,
        consumers: Sequence[demo.Consumer] = demo.CONSUMERS,
    ) -> None:
        self._anybody = anybody
        self._upstream_url = upstream_url
        self._keyring = keyring
        self._say = say
        self._merchants = merchants
        self._consumers = consumers

    def run(self, admin_email: str) -> bool:
        """Whether a demo key was made just now, rather than at an earlier start."""
        admin = self._anybody.sign_in(admin_email)
        merchants = _by_email(admin, "/merchants", "merchants")
        for merchant in self._merchants:
            self._offer(admin, merchant, merchants.get(merchant.email))
        services = self._await_offers()
        consumers = _by_email(admin, "/consumers", "consumers")
        fresh = [
            self._equip(admin, consumer, consumers.get(consumer.email), services)
            for consumer in self._consumers
        ]
        return fresh[0]

    def _offer(self, admin: Api, merchant: demo.Merchant, known: dict[str, Any] | None) -> None:
        """The merchant's services stand in the marketplace."""
        active = set()
        if known:
            listed = admin.list_all("/services", "services", merchantId=known["merchantId"])
            active = {service["slug"] for service in listed if service["status"] == "ACTIVE"}
        missing = [offer for offer in merchant.offers if offer.slug not in active]
        if not missing:
            return
        if known:
            api = self._anybody.sign_in(merchant.email)
        else:
            self._say(f"{merchant.company_name} is invited and registers")
            api = admin.invite_merchant(merchant.email, merchant.name, merchant.company_name)
        begun = {service["slug"]: service for service in api.list_all("/merchant/services", "services")}
        for offer in missing:
            self._publish(admin, api, offer, begun.get(offer.slug))

    def _publish(self, admin: Api, merchant: Api, offer: demo.Offer, begun: dict[str, Any] | None) -> None:
        self._say(f"the service “{offer.name}” is published and approved")
        service = begun or merchant.post_eventually("/services", **self._description(offer))
        path = f"/services/{service['serviceId']}"
        if service["status"] in ("DRAFT", "REJECTED"):
            merchant.post(f"{path}:submit")
        admin.post(f"{path}:approve")

    def _description(self, offer: demo.Offer) -> dict[str, Any]:
        amount = {"currencyCode": "EUR", "units": "0", "nanos": offer.price_nanos}
        return {
            "name": offer.name,
            "description": offer.description,
            "type": "API",
            "baseUrl": f"{self._upstream_url}{offer.path}",
            "documentationUrl": f"https://docs.example/{offer.slug}",
            "version": "1.0.0",
            "tags": list(offer.tags),
            "price": {"perRequest": {"amount": amount}},
            "rateLimitPerMinute": offer.rate_limit_per_minute,
        }

    def _await_offers(self) -> dict[str, str]:
        """The marketplace's service ids by slug. An approved service stands there once its merchant's
        standing has come over from identity-svc, a moment later."""
        wanted = {offer.slug for merchant in self._merchants for offer in merchant.offers}

        def list_all() -> dict[str, str] | None:
            listed = self._anybody.list_all("/marketplace/services", "services")
            services = {service["slug"]: service["serviceId"] for service in listed}
            return services if wanted <= services.keys() else None

        services = until(list_all, OFFERS_TIMEOUT_S)
        if services is None:
            raise StartError(f"The marketplace doesn't show all of {', '.join(sorted(wanted))}.")
        return services

    def _equip(
        self,
        admin: Api,
        consumer: demo.Consumer,
        known: dict[str, Any] | None,
        services: dict[str, str],
    ) -> bool:
        """The consumer has access and a key whose secret we keep. Whether the key is new."""
        if known and _is_kept(self._keyring, consumer.email):
            return False
        if known:
            api = self._anybody.sign_in(consumer.email)
        else:
            self._say(f"{consumer.name} registers")
            api = self._anybody.register_consumer(consumer.email, consumer.name)
        wanted = [services[slug] for slug in consumer.uses]
        self._gain_access(admin, api, wanted)
        self._say(f"{consumer.name} makes an API key")
        made = api.post_eventually("/keys", name="Demo key", serviceIds=wanted, ttlDays=demo.KEY_TTL_DAYS)
        self._keyring.keep(f"demo key {consumer.email}", made["secret"])
        self._keyring.keep(f"demo key expiry {consumer.email}", made["key"]["expiresAt"])
        return True

    def _gain_access(self, admin: Api, consumer: Api, service_ids: list[str]) -> None:
        asked = {
            request["serviceId"]: request
            for request in consumer.list_all("/consumer/access-requests", "accessRequests")
            if request["status"] != "DENIED"
        }
        for service_id in service_ids:
            request = asked.get(service_id) or consumer.post_eventually(
                "/access-requests", serviceId=service_id, note="For the demonstration"
            )
            if request["status"] == "PENDING":
                admin.post(f"/access-requests/{request['accessRequestId']}:approve")


def _by_email(admin: Api, path: str, member: str) -> dict[str, dict[str, Any]]:
    return {account["email"]: account for account in admin.list_all(path, member)}


def _is_kept(keyring: Keyring, email: str) -> bool:
    """Whether we hold the consumer's key and it is good for another day."""
    expiry = keyring.find(f"demo key expiry {email}")
    if expiry is None:
        return False
    return datetime.fromisoformat(expiry) > datetime.now(UTC) + _KEY_MARGIN


def consume(gateway_url: str, key: str, offer: demo.Offer) -> Answer:
    """One call through the gateway, as the offer's example shows it."""
    headers = {"Authorization": f"Bearer {key}"}
    if offer.content is not None:
        headers["Content-Type"] = "text/plain; charset=utf-8"
    url = f"{gateway_url}/api/consume/{offer.slug}{offer.example}"
    return call(offer.method, url, headers=headers, content=offer.content)


def send_traffic(gateway_url: str, keyring: Keyring, calls: int) -> int:
    """Calls each consumer's services in turn. How many were answered well."""
    users = [
        (keyring.find(f"demo key {consumer.email}") or "", demo.offer(slug))
        for consumer in demo.CONSUMERS
        for slug in consumer.uses
    ]
    answers = [consume(gateway_url, *users[number % len(users)]) for number in range(calls)]
    return sum(answer.status == 200 for answer in answers)
