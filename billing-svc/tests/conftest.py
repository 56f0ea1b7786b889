"""A running billing service on a fresh database, and the events that fill it."""

from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial

import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.billing.v1 import billing_service_pb2_grpc as rpc
from ams.usage.v1.usage_service_pb2_grpc import UsageServiceStub
from ams_common.client import open_channel
from ams_common.database import Database
from ams_common.pseudonyms import Pseudonyms
from ams_common.testing.plugin import Schema, Serve
from ams_common.testing.tokens import TestIssuer
from billing_svc.__main__ import ensure_commission_rate
from billing_svc.rpc import BillingService
from billing_svc.store import Store
from billing_svc.testing import Billing, Events, SetClock
from billing_svc.usage_client import UsageClient


@pytest.fixture(scope="session")
def schema() -> Schema:
    return Schema("billing", "billing_svc", Store)


@pytest.fixture
def pseudonyms() -> Pseudonyms:
    return Pseudonyms("a key of these tests")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def usage(nobody_listens: str, issuer: TestIssuer) -> AsyncIterator[UsageClient]:
    """usage-svc is away: tests/test_prove_invoices.py is about both services."""

    async def token() -> str:
        return issuer.service_token("billing-svc")

    async with open_channel(nobody_listens) as channel:
        yield UsageClient(UsageServiceStub(channel), token)


@pytest.fixture
async def billing(
    database: Database[Store],
    pseudonyms: Pseudonyms,
    clock: SetClock,
    usage: UsageClient,
    issuer: TestIssuer,
    serve_rpc: Serve,
) -> AsyncIterator[Billing]:
    """Served in-process, with the commission of a first start: 10 %. After the test no invariant of money is
    broken, whatever it did."""
    await ensure_commission_rate(database, Decimal("0.10"))
    servicer = BillingService(
        database=database,
        pseudonyms=pseudonyms,
        clock=clock,
        usage=usage,
    )
    descriptor = pb.DESCRIPTOR.services_by_name["BillingService"]
    channel = await serve_rpc(descriptor, partial(rpc.add_BillingServiceServicer_to_server, servicer))
    opened = Billing(rpc.BillingServiceStub(channel), issuer, database, clock)
    yield opened
    await opened.check()


@pytest.fixture
def events(database: Database[Store]) -> Events:
    return Events(database)
