"""The RPCs of ams.billing.v1.BillingService, a module for each noun."""

from dataclasses import dataclass

from ams.billing.v1 import billing_service_pb2_grpc as rpc

from billing_svc.rpc.commission_rates import CommissionRateRpcs
from billing_svc.rpc.corrections import CorrectionRpcs
from billing_svc.rpc.documents import DocumentRpcs
from billing_svc.rpc.invoices import InvoiceRpcs
from billing_svc.rpc.line_events import LineEventRpcs
from billing_svc.rpc.proofs import ProofRpcs
from billing_svc.rpc.reconciliation import ReconciliationRpcs
from billing_svc.rpc.revenue import RevenueRpcs
from billing_svc.rpc.runs import InvoiceRunRpcs
from billing_svc.rpc.simulation import SimulationRpcs
from billing_svc.rpc.spend import SpendRpcs


# Each parent's fields say what it needs: the constructor, made from all of them, takes each once.
@dataclass(kw_only=True, eq=False)
class BillingService(
    InvoiceRunRpcs,
    InvoiceRpcs,
    CorrectionRpcs,
    SpendRpcs,
    RevenueRpcs,
    CommissionRateRpcs,
    DocumentRpcs,
    LineEventRpcs,
    ProofRpcs,
    ReconciliationRpcs,
    SimulationRpcs,
    rpc.BillingServiceServicer,
):
    """What the server serves. `clock` tells the present moment, and so which month is the present one.

    A type error shows an RPC that no parent has.
    """
