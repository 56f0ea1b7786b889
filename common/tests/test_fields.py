import pytest
from ams.billing.v1 import billing_service_pb2 as billing
from ams.catalog.v1 import catalog_service_pb2 as catalog
from ams.catalog.v1.events_pb2 import API
from ams.catalog.v1.pricing_pb2 import REQUESTS, PerUnit, Price, PriceComponent
from ams.identity.v1 import identity_service_pb2 as identity
from ams.keys.v1 import keys_service_pb2 as keys
from ams.usage.v1 import usage_service_pb2 as usage
from ams_common.fields import violations
from ams_common.ids import uuid7
from google.protobuf.message import Message
from google.type.money_pb2 import Money

UNIT = PerUnit(amount=Money(currency_code="EUR", units=1))
PRICE = Price(currency_code="EUR", components=[PriceComponent(meter=REQUESTS, per_unit=UNIT)])


def service(**changes: object) -> catalog.CreateServiceRequest:
    values = {"name": "Geo", "description": "Where?", "type": API, "version": "1.0", "price": PRICE}
    return catalog.CreateServiceRequest(**(values | changes))  # type: ignore[arg-type]


def test_a_good_request_has_no_violation() -> None:
    request = service(
        base_url="https://api.example:8443/v1?x=1", tags=["maps", "geo-data"], rate_limit_per_minute=5
    )
    assert violations(request) == []


@pytest.mark.parametrize(
    ("request_", "field", "description"),
    [
        (service(name=""), "name", "is required"),
        (service(name="   "), "name", "is required"),
        (service(name="x" * 81), "name", "must have at most 80 characters"),
        (service(description="a" * 1_000_000), "description", "must have at most 4000 characters"),
        (service(name="a\x00b"), "name", "must not contain control characters"),
        (service(type=0), "type", "is required"),
        (service(type=99), "type", "is not a known value"),
        (service(price=None), "price", "is required"),
        (service(price=Price()), "price.currencyCode", "is required"),
        (
            service(price=Price(currency_code="EUR", components=[PriceComponent(per_unit=PerUnit())])),
            "price.components[0].perUnit.amount",
            "is required",
        ),
        (service(rate_limit_per_minute=-1), "rateLimitPerMinute", "must be at least 0"),
        (service(rate_limit_per_minute=1_000_001), "rateLimitPerMinute", "must be at most 1000000"),
        (service(tags=["a"] * 11), "tags", "must have at most 10 items"),
        (service(tags=["ok", "Not Ok"]), "tags[1]", "must be lower-case letters, digits and single hyphens"),
        (service(tags=["a" * 31]), "tags[0]", "must have at most 30 characters"),
        (keys.GetKeyRequest(key_id="1"), "keyId", "must be a lower-case UUID"),
        (keys.GetKeyRequest(key_id=str(uuid7()).upper()), "keyId", "must be a lower-case UUID"),
        (keys.GetKeySnapshotRequest(key_hash=b"x"), "keyHash", "must have 32 to 32 bytes"),
        (
            keys.CreateKeyRequest(name="k", service_ids=[str(uuid7())], ttl_days=-1),
            "ttlDays",
            "must be at least 0",
        ),
        (keys.CreateKeyRequest(name="k", ttl_days=1), "serviceIds", "is required"),
        (billing.GetConsumerSpendRequest(period="2026-13"), "period", "must be a month such as 2026-11"),
        (billing.IssueInvoicesRequest(last_day="2026-11"), "lastDay", "must be a day such as 2026-11-29"),
        (billing.IssueInvoicesRequest(last_day="2026-02-29"), "lastDay", "must be a day such as 2026-11-29"),
        (billing.IssueInvoicesRequest(last_day="20261129"), "lastDay", "must be a day such as 2026-11-29"),
        (
            usage.GetUsageRequest(time_zone="Mars/Olympus"),
            "timeZone",
            "must be a time zone such as Europe/Zurich",
        ),
        (
            usage.GetUsageRequest(time_zone="../etc/passwd"),
            "timeZone",
            "must be a time zone such as Europe/Zurich",
        ),
    ],
)
def test_a_bad_field_is_named_by_its_json_path(request_: Message, field: str, description: str) -> None:
    assert (field, description) in violations(request_)


@pytest.mark.parametrize("name", ["two\nlines", "a\ttab", "turned\u202eround", "para\u2029graph"])
def test_what_is_no_line_of_plain_text_is_refused(name: str) -> None:
    wrong = violations(identity.RegisterConsumerRequest(email="a@b.example", name=name))
    assert wrong == [("name", "must be one line of plain text")]


@pytest.mark.parametrize(
    "email", ["a@b", "@b.c", "a@", "a b@c.d", "a@b.c\r\nBcc: x@y.z", "a@-b.c", "a,b@c.d", "<a@b.c>"]
)
def test_what_is_no_email_address_is_refused(email: str) -> None:
    assert violations(identity.StartSignInRequest(email=email))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.b",
        "//a.b",
        "https://",
        "https://user:pw@a.b",
        "https://a.b/#x",
        "https://a.b/ x",
        "https://a.b:99999/",
        "https://a.b\\@c.d",
        "javascript:alert(1)",
        "https://exämple.org",
    ],
)
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    assert violations(service(base_url=url))
