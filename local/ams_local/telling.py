"""What the demo's people find in their accounts: notifications of several kinds, some of them read, an alert
rule, a personal access token."""

from datetime import datetime, timedelta

from ams_common.prices import price_message
from ams_common.testing.eventually import eventually
from google.protobuf.json_format import MessageToDict

from ams_local import demo
from ams_local.daemons import StartError
from ams_local.rest import JSON, People, Rest

_TOLD_TIMEOUT_S = 60


async def tell_people(people: People, admin_email: str, now: datetime) -> None:
    """To be called once, when last month is invoiced. Raises StartError when something isn't told."""
    signed_in = {role: await people.signed_in(email or admin_email) for email, role, _ in demo.TOLD}
    await _announce_price(signed_in["MERCHANT"], now)
    await signed_in["CONSUMER"].post(
        "/tokens", name=demo.TOKEN_NAME, role="CONSUMER", scope="TOKEN_READ", ttlDays=demo.KEY_TTL_DAYS
    )
    await signed_in["CONSUMER"].post(
        "/alert-rules",
        name="Calls of this month",
        metric="REQUEST_COUNT",
        period="ALERT_MONTH",
        thresholds=["25", "100000"],
        sendsMail=True,
        role="CONSUMER",
    )
    for _, role, kinds in demo.TOLD:
        await _read_older(signed_in[role], role, kinds)


async def _announce_price(merchant: Rest, now: datetime) -> None:
    slug, price = demo.PRICE_AHEAD
    services = await merchant.list_all("/merchant/services", "services")
    service_id = next(service["serviceId"] for service in services if service["slug"] == slug)
    await merchant.post(
        f"/services/{service_id}/prices",
        price=MessageToDict(price_message(price)),
        startsOn=f"{now + timedelta(days=demo.PRICE_AHEAD_DAYS):%Y-%m-%d}",
    )


async def _read_older(api: Rest, role: str, kinds: set[str]) -> None:
    """Marks all but the newest as read, once each of the kinds has come."""
    told: list[JSON] = []

    async def are_all_told() -> bool:
        nonlocal told
        told = await api.list_all("/notifications", "notifications")
        return kinds <= {each["kind"] for each in told}

    try:
        await eventually(are_all_told, timeout_s=_TOLD_TIMEOUT_S)
    except TimeoutError:
        missing = ", ".join(sorted(kinds - {each["kind"] for each in told}))
        raise StartError(f"The {role.lower()} isn't told of {missing}.") from None
    older = [each["notificationId"] for each in told[demo.UNREAD :]]
    await api.post("/notifications:markRead", notificationIds=older)
