"""Stand-ins for the services that reports are told by, for the tests."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import grpc
from ams.billing.v1 import billing_service_pb2 as billing
from ams.billing.v1 import billing_service_pb2_grpc as billing_rpc
from ams.catalog.v1 import catalog_service_pb2 as catalog
from ams.catalog.v1 import catalog_service_pb2_grpc as catalog_rpc
from ams.keys.v1 import keys_service_pb2 as keys
from ams.keys.v1 import keys_service_pb2_grpc as keys_rpc
from ams_common.money import to_money


class CatalogServer(catalog_rpc.CatalogServiceServicer):
    """Tells names by the contract."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    async def BatchGetServiceNames(
        self, request: catalog.BatchGetServiceNamesRequest, context: Any
    ) -> catalog.BatchGetServiceNamesResponse:
        return catalog.BatchGetServiceNamesResponse(
            services=[
                catalog.ServiceName(service_id=each, name=self.names[each], merchant_name="株式会社")
                for each in request.service_ids
                if each in self.names
            ]
        )


class KeysServer(keys_rpc.KeysServiceServicer):
    """Tells names by the contract."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    async def BatchGetKeyNames(
        self, request: keys.BatchGetKeyNamesRequest, context: Any
    ) -> keys.BatchGetKeyNamesResponse:
        return keys.BatchGetKeyNamesResponse(
            keys=[
                keys.KeyName(key_id=each, name=self.names[each])
                for each in request.key_ids
                if each in self.names
            ]
        )


class BillingServer(billing_rpc.BillingServiceServicer):
    """Tells by the contract what days came to. `failures`: how often it doesn't, first."""

    def __init__(self) -> None:
        self.spends: list[billing.DaySpend] = []
        self.asked: list[billing.BatchGetDaySpendRequest] = []
        self.failures = 0

    async def BatchGetDaySpend(
        self, request: billing.BatchGetDaySpendRequest, context: Any
    ) -> AsyncIterator[billing.BatchGetDaySpendResponse]:
        if self.failures:
            self.failures -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        self.asked.append(request)
        for spend in self.spends:
            if spend.consumer_id in request.consumer_ids and spend.day.startswith(request.period):
                yield billing.BatchGetDaySpendResponse(spends=[spend])

    def add(self, subject: Any, amount: str, currency: str = "EUR", *, day: str) -> None:
        """What the subject's key came to on a day."""
        self.spends.append(
            billing.DaySpend(
                consumer_id=str(subject.consumer_id),
                service_id=str(subject.service_id),
                api_key_id=str(subject.api_key_id),
                project_id=str(subject.project_id or ""),
                day=day,
                amount=to_money(Decimal(amount), currency),
            )
        )
