"""Whatever is sent, the answer is INVALID_ARGUMENT, never INTERNAL."""

from typing import Any

import grpc
import pytest
from ams.billing.v1 import billing_service_pb2 as pb
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7
from billing_svc.testing import Billing

LONG = "x" * 1_000_000
BAD_TEXTS = [LONG, "not-an-id", "' OR 1=1 --", "\x00", "2026-13", "2026-1", "2026-02-30", "٢٠٢٦-١١"]


def malformed_requests(text: str) -> list[tuple[str, Any]]:
    day = "2026-10-31"
    return [
        ("IssueInvoices", pb.IssueInvoicesRequest(last_day=text)),
        ("IssueInvoices", pb.IssueInvoicesRequest(last_day=day, merchant_id=text)),
        ("IssueInvoices", pb.IssueInvoicesRequest(last_day=day, consumers=[text])),
        ("IssueInvoices", pb.IssueInvoicesRequest(last_day=day, consumers=[str(uuid7())] * 101)),
        ("ListInvoiceRuns", pb.ListInvoiceRunsRequest(page_token=text)),
        ("GetInvoiceRun", pb.GetInvoiceRunRequest(invoice_run_id=text)),
        ("ListInvoices", pb.ListInvoicesRequest(period=text)),
        ("ListInvoices", pb.ListInvoicesRequest(consumer=text)),
        ("ListInvoices", pb.ListInvoicesRequest(page_token=text)),
        ("ListInvoices", pb.ListInvoicesRequest(page_size=-1)),
        ("ListInvoices", pb.ListInvoicesRequest(order_by=text)),
        ("ListMerchantInvoices", pb.ListInvoicesRequest(page_token=text)),
        ("ListConsumerInvoices", pb.ListInvoicesRequest(period=text)),
        ("ListConsumerInvoices", pb.ListInvoicesRequest(merchant_id=text)),
        ("GetInvoice", pb.GetInvoiceRequest(invoice_id=text)),
        ("MarkInvoicePaid", pb.MarkInvoicePaidRequest(invoice_id=text)),
        ("VoidInvoice", pb.VoidInvoiceRequest(invoice_id=text, reason="x")),
        ("SendInvoice", pb.SendInvoiceRequest(invoice_id=text)),
        ("CreateCreditNote", pb.CreateCreditNoteRequest(invoice_id=text, reason="x")),
        ("GetConsumerSpend", pb.GetConsumerSpendRequest(period=text)),
        ("GetMerchantRevenue", pb.GetMerchantRevenueRequest(period=text)),
        ("GetStatement", pb.GetStatementRequest(period=text)),
        ("GetStatement", pb.GetStatementRequest(period="2026-10", merchant_id=text)),
        ("CreateCommissionRate", pb.CreateCommissionRateRequest(rate=text, starts_in="2026-12")),
        ("CreateCommissionRate", pb.CreateCommissionRateRequest(rate="0.1", starts_in=text)),
    ]


async def test_malformed_fields_are_refused(billing: Billing) -> None:
    for text in BAD_TEXTS:
        for method, request in malformed_requests(text):
            with pytest.raises(InvalidArgumentError):
                # A merchant's consumers are pseudonyms, an admin's are ids: neither is any of these.
                await billing.ask(method, request, uuid7(), ADMIN, MERCHANT, CONSUMER)
    assert await billing.rows("SELECT FROM invoice_runs") == []


async def test_no_token_or_a_bad_one_gets_nothing(billing: Billing) -> None:
    for metadata in ((), (("authorization", "Bearer nonsense"),), (("authorization", "nonsense"),)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await billing.stub.ListInvoices(pb.ListInvoicesRequest(), metadata=metadata, timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
