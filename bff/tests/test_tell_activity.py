"""Recent activity: what records, services, images and invoices are told as."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ams.audit.v1.events_pb2 import AuditRecord
from ams.billing.v1 import billing_service_pb2 as billing_pb
from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1.events_pb2 import ACTIVE, DRAFT, PENDING_APPROVAL, REJECTED
from ams.policy.v1.policy_pb2 import rule
from ams.registry.v1 import registry_service_pb2 as registry_pb
from ams.registry.v1.events_pb2 import IMAGE_ACTIVE, IMAGE_DEPRECATED, IMAGE_REJECTED
from ams_bff.ui.audit_words import WORDS, audit_words, is_news
from ams_bff.views.admin_records import subject_of
from ams_bff.views.merchant_activity import events_of
from ams_common.clock import to_timestamp
from ams_rest.areas import AREAS

START = datetime(2026, 11, 22, tzinfo=UTC)


def at(hour: float) -> Any:
    return to_timestamp(START + timedelta(hours=hour))


def service(name: str, status: Any, changed: float, created: float = 0) -> catalog_pb.Service:
    return catalog_pb.Service(
        service_id=name, name=name, status=status, created_at=at(created), updated_at=at(changed)
    )


def told(*things: Any) -> list[tuple[str, str]]:
    return [(event.title, event.text) for event in events_of(*things)]


def test_a_service_tells_what_its_state_and_its_dates_do() -> None:
    assert told([service("A", DRAFT, 0)], [], [], []) == [("Service created", "A")]
    assert told([service("A", DRAFT, 2)], [], [], [])[0] == ("Service changed", "A")
    assert told([service("A", PENDING_APPROVAL, 2)], [], [], [])[0] == ("Service submitted", "A")
    assert told([service("A", REJECTED, 2)], [], [], [])[0] == ("Service rejected", "A")


def test_an_approval_is_no_change_and_a_later_change_is_told_beside_it() -> None:
    published = [catalog_pb.MarketplaceService(service_id="A", published_at=at(2))]
    approved = ("Service approved", "A")
    assert told([service("A", ACTIVE, 2)], published, [], []) == [approved, ("Service created", "A")]
    assert told([service("A", ACTIVE, 5)], published, [], [])[:2] == [("Service changed", "A"), approved]


def test_images_and_issued_invoices_are_told_and_drafts_are_not() -> None:
    images = [
        registry_pb.Image(name="n/app", tag=tag, status=status, pushed_at=at(hour))
        for hour, (tag, status) in enumerate(
            [("1", IMAGE_ACTIVE), ("x", IMAGE_REJECTED), ("2", IMAGE_DEPRECATED)]
        )
    ]
    invoices = [
        billing_pb.Invoice(number="INV-000042", consumer_pseudonym="c-1", status=status, updated_at=at(9))
        for status in (billing_pb.INVOICE_DRAFT, billing_pb.INVOICE_ISSUED)
    ]
    assert told([], [], images, invoices) == [
        ("Invoice issued", "INV-000042, c-1"),
        ("Image pushed", "app:2"),
        ("Image refused", "app:x"),
        ("Image pushed", "app:1"),
    ]


def test_only_the_newest_are_told() -> None:
    events = events_of([service(f"S{hour}", DRAFT, hour, hour) for hour in range(20)], [], [], [])
    assert [event.text for event in events] == [f"S{hour}" for hour in range(19, 11, -1)]


def test_every_action_of_the_contracts_has_words() -> None:
    methods = [method for area in AREAS for method in area.service.methods]
    audited = {method.GetOptions().Extensions[rule].audit for method in methods} - {""}
    assert audited <= WORDS.keys()


@pytest.mark.parametrize(
    ("action", "details", "title", "news"),
    [
        ("service.approve", {}, "Service approved", True),
        ("sign_in.complete", {"purpose": "sign_in"}, "Signed in", False),
        ("sign_in.complete", {"purpose": "register_consumer"}, "Consumer registered", True),
        ("service.approve", {"purpose": "register_consumer"}, "Service approved", True),
        ("session.refresh", {}, "Session renewed", False),
        ("signing_key.rotate", {}, "Signing key rotate", False),
    ],
)
def test_news_are_what_isnt_said_of_every_visit(
    action: str, details: dict[str, str], title: str, news: bool
) -> None:
    record = AuditRecord(action=action, details=details)
    assert (audit_words(record)[0], is_news(record)) == (title, news)


@pytest.mark.parametrize(
    ("resource", "resource_id", "details", "subject"),
    [
        ("service", "s1", {}, ("Currency", "/admin/services/s1")),
        ("access_request", "a1", {"service_id": "s1"}, ("Currency", "/admin/services/s1")),
        ("access_request", "a1", {"service_id": "gone-service"}, ("Withdrawn service …ervice", "")),
        ("consumer", "u1", {}, ("ann@x.example", "/admin/consumers/u1")),
        ("merchant", "0123456789", {}, ("01234567…", "/admin/merchants/0123456789")),
        ("user", "u1", {}, ("ann@x.example", "")),
        ("image", "i1", {"name": "n/app", "tag": "1.0"}, ("app:1.0", "")),
        ("billing_period", "2026-10", {}, ("October 2026", "")),
        ("commission_rate", "2026-12", {}, ("from December 2026", "")),
        ("commission_rate", "0001-01", {}, ("", "")),
        ("invite", "v1", {"email": "m@x.example"}, ("m@x.example", "")),
        ("key", "k1", {"key_prefix": "ams_live_1"}, ("ams_live_1", "")),
        ("challenge", "c1", {}, ("", "")),
        (
            "dead_letter",
            "d1",
            {"topic": "usage.events", "keeper": "usage"},
            ("usage.events in usage-svc", ""),
        ),
        ("dead_letter", "d1", {"topic": "usage.events"}, ("usage.events", "")),
    ],
)
def test_a_record_names_what_it_is_about(
    resource: str, resource_id: str, details: dict[str, str], subject: tuple[str, str]
) -> None:
    record = AuditRecord(resource=resource, resource_id=resource_id, details=details)
    known = {"s1": catalog_pb.ServiceName(service_id="s1", name="Currency")}
    assert subject_of(record, known, {"u1": "ann@x.example"}) == subject
