"""What the gateway leaves out of usage events, as far as a service's price lets it. Pure."""

from ams.catalog.v1.metadata_pb2 import TracingSettings
from ams_rating.prices import Meter, Price

from catalog_svc.metadata import Metadata

_REQUEST_SIZE = frozenset({Meter.REQUEST_MEGABYTES, Meter.MEGABYTES})
_RESPONSE_SIZE = frozenset({Meter.RESPONSE_MEGABYTES, Meter.MEGABYTES})


def tracing_in_force(metadata: Metadata, price: Price, next_price: Price | None) -> TracingSettings:
    """What is left out of the events of calls from now on.

    Usage is rated by what its event says, so a size that is counted always stands there. That of the next
    price too: gateways hear of its start a moment after it.
    """
    prices = [price, *([next_price] if next_price is not None else [])]
    counted = {component.meter for each in prices for component in each.components}
    return TracingSettings(
        skips_request_size=metadata.skips_request_size and not counted & _REQUEST_SIZE,
        skips_response_size=metadata.skips_response_size and not counted & _RESPONSE_SIZE,
    )
