"""What has happened to a merchant's services, images and invoices, as far as they say it themselves."""

from collections.abc import Iterable, Iterator, Mapping

from ams.billing.v1 import billing_service_pb2 as billing_pb
from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1.events_pb2 import PENDING_APPROVAL, REJECTED, SERVICE_RETIRED, SERVICE_SUSPENDED
from ams.registry.v1 import registry_service_pb2 as registry_pb
from ams.registry.v1.events_pb2 import IMAGE_REJECTED
from google.protobuf.timestamp_pb2 import Timestamp

from ams_bff.views.activity import Event, newest

# A service that is none of these can be changed, and updated_at says when it was.
_STATES = {
    PENDING_APPROVAL: ("Service submitted", "warn"),
    REJECTED: ("Service rejected", "bad"),
    SERVICE_SUSPENDED: ("Service suspended", "bad"),
    SERVICE_RETIRED: ("Service retired", "plain"),
}
_INVOICES = {
    billing_pb.INVOICE_ISSUED: ("Invoice issued", "info"),
    billing_pb.INVOICE_PAID: ("Invoice paid", "good"),
    billing_pb.INVOICE_OVERDUE: ("Invoice overdue", "bad"),
}
# Approving a service changes it in the same moment.
_SAME_MOMENT_S = 1


def events_of(
    services: Iterable[catalog_pb.Service],
    published: Iterable[catalog_pb.MarketplaceService],
    images: Iterable[registry_pb.Image],
    invoices: Iterable[billing_pb.Invoice],
) -> list[Event]:
    """The newest first. `published`: the services as they stand in the marketplace. Drafts of invoices are
    figures that go on, not events; when an image was deprecated isn't known."""
    published_at = {service.service_id: service.published_at for service in published}
    return newest(
        [
            *(event for service in services for event in _service_events(service, published_at)),
            *(_image_event(image) for image in images),
            *(_invoice_event(invoice) for invoice in invoices if invoice.status in _INVOICES),
        ]
    )


def _service_events(service: catalog_pb.Service, published_at: Mapping[str, Timestamp]) -> Iterator[Event]:
    name, href = service.name, f"/merchant/services/{service.service_id}"
    yield Event("Service created", name, service.created_at, "plain", href)
    since = service.created_at
    if service.service_id in published_at:
        since = published_at[service.service_id]
        yield Event("Service approved", name, since, "good", href)
    if service.status in _STATES:
        title, kind = _STATES[service.status]
        yield Event(title, name, service.updated_at, kind, href)
    elif service.updated_at.seconds - since.seconds > _SAME_MOMENT_S:
        yield Event("Service changed", name, service.updated_at, "plain", href)


def _image_event(image: registry_pb.Image) -> Event:
    name = f"{image.name.rpartition('/')[2]}:{image.tag}"
    href = f"/merchant/images?service={image.service_id}"
    if image.status == IMAGE_REJECTED:
        return Event("Image refused", name, image.pushed_at, "bad", href)
    return Event("Image pushed", name, image.pushed_at, "info", href)


def _invoice_event(invoice: billing_pb.Invoice) -> Event:
    title, kind = _INVOICES[invoice.status]
    if invoice.kind == billing_pb.CREDIT_NOTE:
        title = title.replace("Invoice", "Credit note")
    text = f"{invoice.number}, {invoice.consumer_pseudonym}"
    return Event(title, text, invoice.updated_at, kind, f"/merchant/invoices/{invoice.invoice_id}")
