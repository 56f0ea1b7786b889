"""A merchant of images and its consumer, up to the first push and pull."""

from dataclasses import dataclass

from ams_local import distribution, tools
from ams_local.rest import JSON, People, Rest

from support.trade import new_service, per_request

PRICE = per_request(250_000_000)


@dataclass(frozen=True, slots=True)
class Publishing:
    """A merchant with a Docker service and a push token."""

    merchant: Rest
    service: JSON
    token: JSON
    secret: str
    registry: str

    @property
    def repository(self) -> str:
        return f"{self.registry}/{self.token['repository']}"


@dataclass(frozen=True, slots=True)
class ImageTrade:
    """Such a merchant whose service is active, and a consumer with a key for it."""

    admin: Rest
    publishing: Publishing
    consumer: Rest
    key: JSON
    secret: str

    def image(self, version: str) -> str:
        return f"{self.publishing.repository}:{version}"


async def open_publishing(people: People, admin: Rest, tag: str) -> Publishing:
    """A new merchant, its service a draft. Without a registry there is nothing to push to."""
    tools.find(distribution.PROGRAM)
    merchant = await people.register_merchant(admin, f"docker-{tag}@example.com", f"Docks {tag}")
    service = await merchant.post(
        "/services", **new_service("", name=f"Crane {tag}", type="DOCKER", price=PRICE)
    )
    # The merchant's registration may still be on its way to the registry.
    token = await merchant.post_eventually("/push-tokens", serviceId=service["serviceId"])
    return Publishing(merchant, service, token["pushToken"], token["secret"], token["registry"])


async def open_image_trade(people: People, admin_email: str, tag: str) -> ImageTrade:
    """All up to the first push: invitation, service, approval, access, key."""
    admin = await people.signed_in(admin_email)
    publishing = await open_publishing(people, admin, tag)
    service_id = publishing.service["serviceId"]
    await publishing.merchant.post(f"/services/{service_id}:submit")
    await admin.post(f"/services/{service_id}:approve")
    consumer = await people.register_consumer(f"puller-{tag}@example.com")
    request = await consumer.post_eventually("/access-requests", serviceId=service_id)
    await admin.post(f"/access-requests/{request['accessRequestId']}:approve")
    made = await consumer.post("/keys", name="server", serviceIds=[service_id], ttlDays=30)
    return ImageTrade(admin, publishing, consumer, made["key"], made["secret"])
