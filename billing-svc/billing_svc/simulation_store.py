"""The SQL of simulations."""

from dataclasses import dataclass
from uuid import UUID

from ams_common.queries import QueryStore, column, many, maybe_value, one

from billing_svc.rows import counted_usage


@dataclass(frozen=True, slots=True)
class ServiceName:
    service_id: UUID
    name: str


class SimulationStore(QueryStore, package="billing_svc", file="simulation.sql"):
    """Usage of a service, and the prices that it could have."""

    find_service = one(ServiceName)
    find_price = maybe_value(str)
    list_consumers_of_service = column(UUID)
    list_usage_of_service = many(row=counted_usage)
