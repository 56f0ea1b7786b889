"""A merchant's service and a consumer of it, up to the first call, and that call."""

from dataclasses import dataclass
from typing import Any

import aiohttp
from ams_local.rest import JSON, Answer, People, Rest


def per_request(nanos: int) -> JSON:
    """A price of so many thousand-millionths of a euro for each request."""
    amount = {"currencyCode": "EUR", "nanos": nanos}
    return {"currencyCode": "EUR", "components": [{"meter": "REQUESTS", "perUnit": {"amount": amount}}]}


def typed_price(amount: str, currency: str = "EUR", at: int = 0) -> dict[str, str]:
    """The same, as the controls of a form: the part with this number, a price per request."""
    part = f"price.components.{at}"
    return {
        "price.currency_code": currency,
        f"{part}.scheme": "per_unit",
        f"{part}.meter": "REQUESTS",
        f"{part}.per_unit.amount": amount,
    }


def new_service(base_url: str, **changes: Any) -> JSON:
    """The body of a good POST /services."""
    return {
        "name": "Geo",
        "description": "Where is it?",
        "type": "API",
        "baseUrl": base_url,
        "documentationUrl": "https://docs.example/geo",
        "version": "1.0.0",
        "tags": ["maps"],
        "price": per_request(5_000_000),
        "rateLimitPerMinute": 0,
    } | changes


@dataclass(frozen=True, slots=True)
class Trade:
    """A merchant's active service, and a consumer with a key for it."""

    admin: Rest
    merchant: Rest
    consumer: Rest
    service: JSON
    key: JSON
    secret: str


async def open_trade(people: People, admin_email: str, base_url: str, tag: str, **service: Any) -> Trade:
    """All up to the first call: invitation, service, approval, access, key."""
    admin = await people.signed_in(admin_email)
    merchant = await people.register_merchant(admin, f"merchant-{tag}@example.com", f"Maps {tag}")
    consumer = await people.register_consumer(f"consumer-{tag}@example.com")
    created = await merchant.post("/services", **new_service(base_url, **{"name": f"Geo {tag}", **service}))
    service_id = created["serviceId"]
    await merchant.post(f"/services/{service_id}:submit")
    approved = await admin.post(f"/services/{service_id}:approve")
    request = await consumer.post_eventually("/access-requests", serviceId=service_id)
    await admin.post(f"/access-requests/{request['accessRequestId']}:approve")
    made = await consumer.post("/keys", name="laptop", serviceIds=[service_id], ttlDays=30)
    return Trade(admin, merchant, consumer, approved, made["key"], made["secret"])


async def consume(
    http: aiohttp.ClientSession, gateway_url: str, secret: str, service: str, **options: object
) -> Answer:
    """POST /api/consume, whatever comes of it."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    if service:
        headers["X-AMS-Service"] = service
    url = f"{gateway_url}/api/consume"
    async with http.post(url, headers=headers, json={"where": "here"}, **options) as response:  # type: ignore[arg-type]
        text = await response.text()
        body = await response.json(content_type=None)
        return Answer(response.status, response.headers, body, text)
