"""What pages ask the services: each RPC by its name, with its request's fields as keywords.

`await visit.api.keys.ListKeys(page_size=50)` is checked by mypy as the request's own constructor is.
"""

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Generic, ParamSpec, Protocol, TypeAlias, TypeVar

import grpc
from ams.billing.v1 import billing_service_pb2 as billing
from ams.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from ams.catalog.v1 import catalog_service_pb2 as catalog
from ams.catalog.v1 import pricing_pb2 as pricing
from ams.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from ams.dead_letters.v1 import dead_letters_pb2 as dead_letters
from ams.identity.v1 import identity_service_pb2 as identity
from ams.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from ams.keys.v1 import keys_service_pb2 as keys
from ams.keys.v1.keys_service_pb2_grpc import KeysServiceStub
from ams.registry.v1 import registry_service_pb2 as registry
from ams.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from ams.usage.v1 import alert_service_pb2 as alerts
from ams.usage.v1 import report_service_pb2 as reports
from ams.usage.v1 import usage_service_pb2 as usage
from ams.usage.v1.alert_service_pb2_grpc import AlertServiceStub
from ams.usage.v1.report_service_pb2_grpc import ReportServiceStub
from ams.usage.v1.usage_service_pb2_grpc import UsageServiceStub
from ams_common.client import invoke, listen
from ams_rest.deadlines import Deadlines
from google.protobuf.message import Message

P = ParamSpec("P")
T = TypeVar("T")

# Gives the token that a call is made with, None for nobody's. Raises AppError.
AccessToken: TypeAlias = Callable[[], Awaitable[str | None]]

_STUBS: Mapping[str, Callable[[grpc.aio.Channel], object]] = {
    "identity": IdentityServiceStub,
    "catalog": CatalogServiceStub,
    "keys": KeysServiceStub,
    "usage": UsageServiceStub,
    "reports": ReportServiceStub,
    "alerts": AlertServiceStub,
    "billing": BillingServiceStub,
    "registry": RegistryServiceStub,
}
# Services that share the process of another.
_SERVED_BY = {"reports": "usage", "alerts": "usage"}


def stubs_over(channels: Mapping[str, grpc.aio.Channel]) -> Mapping[str, object]:
    """The generated stubs by service, which last as long as the process."""
    return {name: stub(channels[_SERVED_BY.get(name, name)]) for name, stub in _STUBS.items()}


class Client:
    """One service, for one session. Each call raises AppError: what the service says, or that it is down or
    hangs."""

    def __init__(
        self, name: str, stubs: Mapping[str, object], token: AccessToken, deadlines: Deadlines
    ) -> None:
        self.stub = stubs[name]
        self.process = _SERVED_BY.get(name, name)
        self.access_token = token
        self.deadlines = deadlines


class Rpc(Generic[P, T]):
    """A method of a client, named as the RPC is."""

    def __init__(self, request: Callable[P, Message], answer: type[T]) -> None:
        """`answer` only says the type: the stub knows how to read it."""
        self._request = request

    def __set_name__(self, owner: type[Client], name: str) -> None:
        self._name = name

    def __get__(self, client: Client, owner: type[Client]) -> Callable[P, Awaitable[T]]:
        async def call(*args: P.args, **fields: P.kwargs) -> T:
            token = await client.access_token()
            request = self._request(*args, **fields)
            method = getattr(client.stub, self._name)

            async def ask(timeout_s: float) -> T:
                answer: T = await invoke(method, request, token=token, timeout_s=timeout_s)
                return answer

            return await client.deadlines.ask(client.process, self._name, ask)

        return call


class StreamRpc(Generic[P, T]):
    """A method of a client whose answers are a stream: `async for report in api.usage.WatchConsumerUsage(…)`.

    It lasts until the access token that it began with ends (UnauthenticatedError token_expired), and is then
    asked for anew. Whoever stops earlier closes it: `async with aclosing(…)`.
    """

    def __init__(self, request: Callable[P, Message], answer: type[T]) -> None:
        """`answer` only says the type: the stub knows how to read it."""
        self._request = request

    def __set_name__(self, owner: type[Client], name: str) -> None:
        self._name = name

    def __get__(self, client: Client, owner: type[Client]) -> Callable[P, AsyncGenerator[T, None]]:
        async def call(*args: P.args, **fields: P.kwargs) -> AsyncGenerator[T, None]:
            token = await client.access_token()
            method = getattr(client.stub, self._name)
            async with aclosing(listen(method, self._request(*args, **fields), token=token)) as answers:
                async for answer in answers:
                    yield answer

        return call


class IdentityClient(Client):
    BlockConsumer = Rpc(identity.BlockConsumerRequest, identity.Consumer)
    CompleteOidcSignIn = Rpc(identity.CompleteOidcSignInRequest, identity.Session)
    CreateInvite = Rpc(identity.CreateInviteRequest, identity.Invite)
    GetConsumer = Rpc(identity.GetConsumerRequest, identity.Consumer)
    GetMe = Rpc(identity.GetMeRequest, identity.User)
    GetMerchant = Rpc(identity.GetMerchantRequest, identity.Merchant)
    ListAuditRecords = Rpc(identity.ListAuditRecordsRequest, identity.ListAuditRecordsResponse)
    ListConsumers = Rpc(identity.ListConsumersRequest, identity.ListConsumersResponse)
    ListInvites = Rpc(identity.ListInvitesRequest, identity.ListInvitesResponse)
    ListMerchants = Rpc(identity.ListMerchantsRequest, identity.ListMerchantsResponse)
    ListSignInIssuers = Rpc(identity.ListSignInIssuersRequest, identity.ListSignInIssuersResponse)
    RegisterConsumer = Rpc(identity.RegisterConsumerRequest, identity.Challenge)
    RegisterMerchant = Rpc(identity.RegisterMerchantRequest, identity.Challenge)
    ReinstateMerchant = Rpc(identity.ReinstateMerchantRequest, identity.Merchant)
    SignOut = Rpc(identity.SignOutRequest, identity.SignOutResponse)
    StartOidcSignIn = Rpc(identity.StartOidcSignInRequest, identity.OidcChallenge)
    StartSignIn = Rpc(identity.StartSignInRequest, identity.Challenge)
    SuspendMerchant = Rpc(identity.SuspendMerchantRequest, identity.Merchant)
    UnblockConsumer = Rpc(identity.UnblockConsumerRequest, identity.Consumer)
    VerifyChallenge = Rpc(identity.VerifyChallengeRequest, identity.Session)


class CatalogClient(Client):
    ApproveService = Rpc(catalog.ApproveServiceRequest, catalog.Service)
    BatchGetServiceNames = Rpc(catalog.BatchGetServiceNamesRequest, catalog.BatchGetServiceNamesResponse)
    CancelPrice = Rpc(catalog.CancelPriceRequest, pricing.PriceVersion)
    CreateService = Rpc(catalog.CreateServiceRequest, catalog.Service)
    GetMarketplaceService = Rpc(catalog.GetMarketplaceServiceRequest, catalog.MarketplaceService)
    GetService = Rpc(catalog.GetServiceRequest, catalog.Service)
    ListMarketplaceServices = Rpc(
        catalog.ListMarketplaceServicesRequest, catalog.ListMarketplaceServicesResponse
    )
    ListMerchantServices = Rpc(catalog.ListMerchantServicesRequest, catalog.ListMerchantServicesResponse)
    ListPrices = Rpc(catalog.ListPricesRequest, catalog.ListPricesResponse)
    ListServices = Rpc(catalog.ListServicesRequest, catalog.ListServicesResponse)
    RejectService = Rpc(catalog.RejectServiceRequest, catalog.Service)
    RotateSigningKey = Rpc(catalog.RotateSigningKeyRequest, catalog.RotateSigningKeyResponse)
    SchedulePrice = Rpc(catalog.SchedulePriceRequest, pricing.PriceVersion)
    SetUpstreamCredential = Rpc(catalog.SetUpstreamCredentialRequest, catalog.Service)
    SubmitService = Rpc(catalog.SubmitServiceRequest, catalog.Service)
    UpdateService = Rpc(catalog.UpdateServiceRequest, catalog.Service)


class KeysClient(Client):
    ApproveAccess = Rpc(keys.ApproveAccessRequest, keys.AccessRequest)
    CreateKey = Rpc(keys.CreateKeyRequest, keys.CreateKeyResponse)
    DenyAccess = Rpc(keys.DenyAccessRequest, keys.AccessRequest)
    GetKey = Rpc(keys.GetKeyRequest, keys.Key)
    GetSpendCap = Rpc(keys.GetSpendCapRequest, keys.ConsumerSpendCap)
    ListAccessRequests = Rpc(keys.ListAccessRequestsRequest, keys.ListAccessRequestsResponse)
    ListConsumerAccessRequests = Rpc(
        keys.ListConsumerAccessRequestsRequest, keys.ListConsumerAccessRequestsResponse
    )
    ListKeys = Rpc(keys.ListKeysRequest, keys.ListKeysResponse)
    RequestAccess = Rpc(keys.RequestAccessRequest, keys.AccessRequest)
    RevokeKey = Rpc(keys.RevokeKeyRequest, keys.Key)
    SetKeySpendCap = Rpc(keys.SetKeySpendCapRequest, keys.Key)
    SetSpendCap = Rpc(keys.SetSpendCapRequest, keys.ConsumerSpendCap)


class UsageClient(Client):
    DismissUsageDeadLetter = Rpc(dead_letters.DismissDeadLetterRequest, dead_letters.DeadLetter)
    GetConsumerUsage = Rpc(usage.GetUsageRequest, usage.UsageReport)
    GetMerchantUsage = Rpc(usage.GetUsageRequest, usage.UsageReport)
    GetPlatformUsage = Rpc(usage.GetUsageRequest, usage.UsageReport)
    ListConsumerCalls = Rpc(usage.ListCallsRequest, usage.ListCallsResponse)
    ListDayRoots = Rpc(usage.ListDayRootsRequest, usage.ListDayRootsResponse)
    ListMerchantCalls = Rpc(usage.ListCallsRequest, usage.ListCallsResponse)
    ListPlatformCalls = Rpc(usage.ListCallsRequest, usage.ListCallsResponse)
    ListUsageDeadLetters = Rpc(dead_letters.ListDeadLettersRequest, dead_letters.ListDeadLettersResponse)
    ReplayUsageDeadLetter = Rpc(dead_letters.DeadLetterId, dead_letters.DeadLetter)
    WatchConsumerUsage = StreamRpc(usage.GetUsageRequest, usage.UsageReport)
    WatchMerchantUsage = StreamRpc(usage.GetUsageRequest, usage.UsageReport)
    WatchPlatformUsage = StreamRpc(usage.GetUsageRequest, usage.UsageReport)


class ReportsClient(Client):
    CreateReport = Rpc(reports.CreateReportRequest, reports.Report)
    DeleteReport = Rpc(reports.DeleteReportRequest, reports.DeleteReportResponse)
    GetReport = Rpc(reports.GetReportRequest, reports.Report)
    ListReports = Rpc(reports.ListReportsRequest, reports.ListReportsResponse)
    ReadReport = Rpc(reports.ReadReportRequest, reports.ReadReportResponse)
    ShareReport = Rpc(reports.ShareReportRequest, reports.Report)


class AlertsClient(Client):
    CreateAlertRule = Rpc(alerts.CreateAlertRuleRequest, alerts.CreateAlertRuleResponse)
    DeleteAlertRule = Rpc(alerts.DeleteAlertRuleRequest, alerts.DeleteAlertRuleResponse)
    ListAlertRules = Rpc(alerts.ListAlertRulesRequest, alerts.ListAlertRulesResponse)
    ListAlerts = Rpc(alerts.ListAlertsRequest, alerts.ListAlertsResponse)
    MarkAlertsRead = Rpc(alerts.MarkAlertsReadRequest, alerts.MarkAlertsReadResponse)


class BillingClient(Client):
    BatchGetConsumerSpend = Rpc(billing.BatchGetConsumerSpendRequest, billing.BatchGetConsumerSpendResponse)
    BatchGetMerchantRevenue = Rpc(
        billing.BatchGetMerchantRevenueRequest, billing.BatchGetMerchantRevenueResponse
    )
    CreateCommissionRate = Rpc(billing.CreateCommissionRateRequest, billing.CommissionRate)
    CreateCreditNote = Rpc(billing.CreateCreditNoteRequest, billing.Invoice)
    DismissBillingDeadLetter = Rpc(dead_letters.DismissDeadLetterRequest, dead_letters.DeadLetter)
    EstimateCost = Rpc(billing.EstimateCostRequest, billing.PricePreview)
    GetConsumerSpend = Rpc(billing.GetConsumerSpendRequest, billing.GetConsumerSpendResponse)
    GetInvoice = Rpc(billing.GetInvoiceRequest, billing.Invoice)
    GetInvoiceDocument = Rpc(billing.GetInvoiceDocumentRequest, billing.InvoiceDocument)
    GetInvoiceProof = Rpc(billing.GetInvoiceProofRequest, billing.InvoiceProof)
    GetInvoiceRun = Rpc(billing.GetInvoiceRunRequest, billing.InvoiceRun)
    GetMerchantRevenue = Rpc(billing.GetMerchantRevenueRequest, billing.GetMerchantRevenueResponse)
    GetReconciliation = Rpc(billing.GetReconciliationRequest, billing.Reconciliation)
    GetStatement = Rpc(billing.GetStatementRequest, billing.Statement)
    IssueInvoices = Rpc(billing.IssueInvoicesRequest, billing.InvoiceRun)
    ListBillingDeadLetters = Rpc(dead_letters.ListDeadLettersRequest, dead_letters.ListDeadLettersResponse)
    ListCommissionRates = Rpc(billing.ListCommissionRatesRequest, billing.ListCommissionRatesResponse)
    ListConsumerInvoices = Rpc(billing.ListInvoicesRequest, billing.ListInvoicesResponse)
    ListInvoiceRuns = Rpc(billing.ListInvoiceRunsRequest, billing.ListInvoiceRunsResponse)
    ListInvoices = Rpc(billing.ListInvoicesRequest, billing.ListInvoicesResponse)
    ListMerchantInvoices = Rpc(billing.ListInvoicesRequest, billing.ListInvoicesResponse)
    MarkInvoicePaid = Rpc(billing.MarkInvoicePaidRequest, billing.Invoice)
    PreviewPrice = Rpc(billing.PreviewPriceRequest, billing.PricePreview)
    ReplayBillingDeadLetter = Rpc(dead_letters.DeadLetterId, dead_letters.DeadLetter)
    SendInvoice = Rpc(billing.SendInvoiceRequest, billing.Invoice)
    SimulatePrice = Rpc(billing.SimulatePriceRequest, billing.PriceSimulation)
    VoidInvoice = Rpc(billing.VoidInvoiceRequest, billing.Invoice)
    WatchConsumerSpend = StreamRpc(
        billing.BatchGetConsumerSpendRequest, billing.BatchGetConsumerSpendResponse
    )
    WatchMerchantRevenue = StreamRpc(
        billing.BatchGetMerchantRevenueRequest, billing.BatchGetMerchantRevenueResponse
    )


class RegistryClient(Client):
    CreatePushToken = Rpc(registry.CreatePushTokenRequest, registry.CreatePushTokenResponse)
    DeprecateImage = Rpc(registry.DeprecateImageRequest, registry.Image)
    GetImage = Rpc(registry.GetImageRequest, registry.Image)
    ListAllImages = Rpc(registry.ListAllImagesRequest, registry.ListAllImagesResponse)
    ListConsumerImages = Rpc(registry.ListConsumerImagesRequest, registry.ListConsumerImagesResponse)
    ListImages = Rpc(registry.ListImagesRequest, registry.ListImagesResponse)
    ListPushTokens = Rpc(registry.ListPushTokensRequest, registry.ListPushTokensResponse)
    RevokePushToken = Rpc(registry.RevokePushTokenRequest, registry.PushToken)


class Api:
    """All services; who is asking is the person of one session."""

    def __init__(self, stubs: Mapping[str, object], access_token: AccessToken, deadlines: Deadlines) -> None:
        self.access_token = access_token
        self.identity = IdentityClient("identity", stubs, access_token, deadlines)
        self.catalog = CatalogClient("catalog", stubs, access_token, deadlines)
        self.keys = KeysClient("keys", stubs, access_token, deadlines)
        self.usage = UsageClient("usage", stubs, access_token, deadlines)
        self.reports = ReportsClient("reports", stubs, access_token, deadlines)
        self.alerts = AlertsClient("alerts", stubs, access_token, deadlines)
        self.billing = BillingClient("billing", stubs, access_token, deadlines)
        self.registry = RegistryClient("registry", stubs, access_token, deadlines)


class Listed(Protocol):
    """What every answer to a List RPC has."""

    @property
    def next_page_token(self) -> str:
        """Where the list goes on; "" at its end."""


L = TypeVar("L", bound=Listed)


async def pages(ask: Callable[[str], Awaitable[L]], most: int | None = None) -> AsyncIterator[L]:
    """The pages of a list, all or at most so many. `ask` gives one by its token. Raises AppError."""
    token = ""
    for _ in itertools.repeat(None) if most is None else range(most):
        listed = await ask(token)
        yield listed
        if not (token := listed.next_page_token):
            return
