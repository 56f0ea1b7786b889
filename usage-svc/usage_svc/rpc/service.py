"""UsageService, of its parts."""

from dataclasses import dataclass

from usage_svc.rpc.calls import CallRpcs
from usage_svc.rpc.proofs import ProofRpcs
from usage_svc.rpc.usage import UsageRpcs


@dataclass(kw_only=True, eq=False)
class UsageService(UsageRpcs, CallRpcs, ProofRpcs):
    """All of it."""
