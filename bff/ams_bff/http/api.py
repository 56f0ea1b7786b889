"""What pages ask the services: each RPC by its name, with its request's fields as keywords.

`await visit.api.keys.ListKeys(page_size=50)` is checked by mypy as the request's own constructor is.
"""

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Generic, ParamSpec, Protocol, TypeVar

import grpc
from ams.billing.v1 import billing_service_pb2 as billing
from ams.billing.v1 import project_spend_service_pb2 as project_spend
from ams.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from ams.billing.v1.project_spend_service_pb2_grpc import ProjectSpendServiceStub
from ams.catalog.v1 import catalog_service_pb2 as catalog
from ams.catalog.v1 import discovery_service_pb2 as discovery
from ams.catalog.v1 import invitation_service_pb2 as invitations
from ams.catalog.v1 import lifecycle_service_pb2 as lifecycle
from ams.catalog.v1 import openapi_pb2 as openapi
from ams.catalog.v1 import openapi_service_pb2 as openapi_service
from ams.catalog.v1 import pricing_pb2 as pricing
from ams.catalog.v1 import revision_pb2 as revision
from ams.catalog.v1 import revision_service_pb2 as revisions
from ams.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from ams.catalog.v1.discovery_service_pb2_grpc import DiscoveryServiceStub
from ams.catalog.v1.invitation_service_pb2_grpc import InvitationServiceStub
from ams.catalog.v1.lifecycle_service_pb2_grpc import LifecycleServiceStub
from ams.catalog.v1.openapi_service_pb2_grpc import OpenapiServiceStub
from ams.catalog.v1.revision_service_pb2_grpc import RevisionServiceStub
from ams.dead_letters.v1 import dead_letters_service_pb2 as dead_letters
from ams.dead_letters.v1.dead_letters_service_pb2_grpc import DeadLettersServiceStub
from ams.identity.v1 import identity_service_pb2 as identity
from ams.identity.v1 import notifications_service_pb2 as notifications
from ams.identity.v1 import profile_service_pb2 as profiles
from ams.identity.v1 import project_service_pb2 as projects
from ams.identity.v1 import second_factor_service_pb2 as factors
from ams.identity.v1 import session_service_pb2 as sessions
from ams.identity.v1 import settings_service_pb2 as platform_settings
from ams.identity.v1 import team_service_pb2 as team
from ams.identity.v1 import token_service_pb2 as tokens
from ams.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from ams.identity.v1.notifications_service_pb2_grpc import NotificationsServiceStub
from ams.identity.v1.profile_service_pb2_grpc import ProfileServiceStub
from ams.identity.v1.project_service_pb2_grpc import ProjectServiceStub
from ams.identity.v1.second_factor_service_pb2_grpc import SecondFactorServiceStub
from ams.identity.v1.second_factors_pb2 import SecondFactorChallenge
from ams.identity.v1.session_service_pb2_grpc import SessionServiceStub
from ams.identity.v1.settings_service_pb2_grpc import SettingsServiceStub
from ams.identity.v1.team_service_pb2_grpc import TeamServiceStub
from ams.identity.v1.token_service_pb2_grpc import TokenServiceStub
from ams.keys.v1 import exposures_service_pb2 as exposures
from ams.keys.v1 import grants_service_pb2 as grants
from ams.keys.v1 import key_settings_service_pb2 as key_settings
from ams.keys.v1 import keys_service_pb2 as keys
from ams.keys.v1 import service_consumers_service_pb2 as service_consumers
from ams.keys.v1.exposures_service_pb2_grpc import ExposuresServiceStub
from ams.keys.v1.grants_service_pb2_grpc import GrantsServiceStub
from ams.keys.v1.key_settings_service_pb2_grpc import KeySettingsServiceStub
from ams.keys.v1.keys_service_pb2_grpc import KeysServiceStub
from ams.keys.v1.service_consumers_service_pb2_grpc import ServiceConsumersServiceStub
from ams.registry.v1 import project_image_service_pb2 as project_images
from ams.registry.v1 import registry_service_pb2 as registry
from ams.registry.v1.project_image_service_pb2_grpc import ProjectImageServiceStub
from ams.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from ams.usage.v1 import alert_service_pb2 as alerts
from ams.usage.v1 import report_service_pb2 as reports
from ams.usage.v1 import usage_service_pb2 as usage
from ams.usage.v1.alert_service_pb2_grpc import AlertServiceStub
from ams.usage.v1.report_service_pb2_grpc import ReportServiceStub
from ams.usage.v1.usage_service_pb2_grpc import UsageServiceStub
from ams_common.client import invoke, listen
from ams_common.errors import UnauthenticatedError
from ams_common.processes import GRPC_SERVERS
from ams_rest.deadlines import Deadlines
from google.protobuf.message import Message

P = ParamSpec("P")
T = TypeVar("T")


class AccessToken(Protocol):
    """Gives the token that a call is made with, None for nobody's. Raises AppError."""

    async def __call__(self, refused: str | None = None) -> str | None:
        """Another one than that which a service has refused because what it says has changed."""


# What a token says has changed: there is a new one to be had.
_TOKEN_ENDED = "token_ended"  # noqa: S105 - a code

_STUBS: Mapping[str, Callable[[grpc.aio.Channel], object]] = {
    "identity": IdentityServiceStub,
    "projects": ProjectServiceStub,
    "sessions": SessionServiceStub,
    "tokens": TokenServiceStub,
    "second_factors": SecondFactorServiceStub,
    "team": TeamServiceStub,
    "settings": SettingsServiceStub,
    "profiles": ProfileServiceStub,
    "notifications": NotificationsServiceStub,
    "catalog": CatalogServiceStub,
    "discovery": DiscoveryServiceStub,
    "revisions": RevisionServiceStub,
    "lifecycle": LifecycleServiceStub,
    "openapi": OpenapiServiceStub,
    "invitations": InvitationServiceStub,
    "keys": KeysServiceStub,
    "key_settings": KeySettingsServiceStub,
    "grants": GrantsServiceStub,
    "service_consumers": ServiceConsumersServiceStub,
    "exposures": ExposuresServiceStub,
    "usage": UsageServiceStub,
    "reports": ReportServiceStub,
    "alerts": AlertServiceStub,
    "billing": BillingServiceStub,
    "project_spend": ProjectSpendServiceStub,
    "registry": RegistryServiceStub,
    "project_images": ProjectImageServiceStub,
    **{f"{keeper}_dead_letters": DeadLettersServiceStub for keeper in GRPC_SERVERS},
}
# Services that share the process of another.
_SERVED_BY = {
    "projects": "identity",
    "sessions": "identity",
    "tokens": "identity",
    "second_factors": "identity",
    "team": "identity",
    "settings": "identity",
    "profiles": "identity",
    "notifications": "identity",
    "reports": "usage",
    "alerts": "usage",
    "project_spend": "billing",
    "project_images": "registry",
    "key_settings": "keys",
    "grants": "keys",
    "service_consumers": "keys",
    "exposures": "keys",
    "discovery": "catalog",
    "revisions": "catalog",
    "openapi": "catalog",
    "lifecycle": "catalog",
    "invitations": "catalog",
    **{f"{keeper}_dead_letters": keeper for keeper in GRPC_SERVERS},
}


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
            try:
                return await self._ask(client, request, token)
            except UnauthenticatedError as error:
                # Nothing was done yet: who calls comes first.
                if token is None or error.code != _TOKEN_ENDED:
                    raise
            return await self._ask(client, request, await client.access_token(token))

        return call

    async def _ask(self, client: Client, request: Message, token: str | None) -> T:
        method = getattr(client.stub, self._name)

        async def call(timeout_s: float) -> T:
            answer: T = await invoke(method, request, token=token, timeout_s=timeout_s)
            return answer

        return await client.deadlines.ask(client.process, self._name, call)


class StreamRpc(Generic[P, T]):
    """A method of a client whose answers are a stream: `async for report in api.usage.WatchConsumerUsage(…)`.

    It lasts until the access token that it began with ends (UnauthenticatedError), and is asked for anew
    then. Whoever stops earlier closes it: `async with aclosing(…)`.
    """

    def __init__(self, request: Callable[P, Message], answer: type[T]) -> None:
        """`answer` only says the type: the stub knows how to read it."""
        self._request = request

    def __set_name__(self, owner: type[Client], name: str) -> None:
        self._name = name

    def __get__(self, client: Client, owner: type[Client]) -> Callable[P, AsyncGenerator[T, None]]:
        async def call(*args: P.args, **fields: P.kwargs) -> AsyncGenerator[T, None]:
            token = await client.access_token()
            method, request = getattr(client.stub, self._name), self._request(*args, **fields)
            is_begun = False
            try:
                async with aclosing(listen(method, request, token=token)) as answers:
                    async for answer in answers:
                        is_begun = True
                        yield answer
                return
            except UnauthenticatedError as error:
                if is_begun or token is None or error.code != _TOKEN_ENDED:
                    raise
            token = await client.access_token(token)
            async with aclosing(listen(method, request, token=token)) as answers:
                async for answer in answers:
                    yield answer

        return call


class IdentityClient(Client):
    BatchGetConsumers = Rpc(identity.BatchGetConsumersRequest, identity.BatchGetConsumersResponse)
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
    ResendInvite = Rpc(identity.ResendInviteRequest, identity.Invite)
    RevokeInvite = Rpc(identity.RevokeInviteRequest, identity.Invite)
    SignOut = Rpc(identity.SignOutRequest, identity.SignOutResponse)
    StartOidcSignIn = Rpc(identity.StartOidcSignInRequest, identity.OidcChallenge)
    StartSignIn = Rpc(identity.StartSignInRequest, identity.Challenge)
    SuspendMerchant = Rpc(identity.SuspendMerchantRequest, identity.Merchant)
    UnblockConsumer = Rpc(identity.UnblockConsumerRequest, identity.Consumer)
    VerifyChallenge = Rpc(identity.VerifyChallengeRequest, identity.Session)


class ProjectsClient(Client):
    AcceptProjectInvitation = Rpc(projects.AcceptProjectInvitationRequest, projects.Project)
    AcceptProjectOffer = Rpc(projects.AcceptProjectOfferRequest, projects.Project)
    CloseProject = Rpc(projects.CloseProjectRequest, projects.Project)
    CreateProject = Rpc(projects.CreateProjectRequest, projects.Project)
    CreateProjectInvitation = Rpc(projects.CreateProjectInvitationRequest, projects.ProjectInvite)
    DeclineProjectInvitation = Rpc(
        projects.DeclineProjectInvitationRequest, projects.DeclineProjectInvitationResponse
    )
    DeclineProjectOffer = Rpc(projects.DeclineProjectOfferRequest, projects.Project)
    GetProject = Rpc(projects.GetProjectRequest, projects.Project)
    GetReceivedInvitation = Rpc(projects.GetReceivedInvitationRequest, projects.ReceivedInvitation)
    LeaveProject = Rpc(projects.LeaveProjectRequest, projects.LeaveProjectResponse)
    ListProjectInvitations = Rpc(
        projects.ListProjectInvitationsRequest, projects.ListProjectInvitationsResponse
    )
    ListProjectMembers = Rpc(projects.ListProjectMembersRequest, projects.ListProjectMembersResponse)
    ListProjects = Rpc(projects.ListProjectsRequest, projects.ListProjectsResponse)
    ListReceivedInvitations = Rpc(
        projects.ListReceivedInvitationsRequest, projects.ListReceivedInvitationsResponse
    )
    OfferProject = Rpc(projects.OfferProjectRequest, projects.Project)
    RemoveProjectMember = Rpc(projects.RemoveProjectMemberRequest, projects.Project)
    ResendProjectInvitation = Rpc(projects.ResendProjectInvitationRequest, projects.ProjectInvite)
    RevokeProjectInvitation = Rpc(projects.RevokeProjectInvitationRequest, projects.ProjectInvite)
    UpdateProject = Rpc(projects.UpdateProjectRequest, projects.Project)
    UpdateProjectMember = Rpc(projects.UpdateProjectMemberRequest, projects.ProjectMembership)
    WithdrawProjectOffer = Rpc(projects.WithdrawProjectOfferRequest, projects.Project)


class SessionsClient(Client):
    EndOtherSessions = Rpc(sessions.EndOtherSessionsRequest, sessions.EndOtherSessionsResponse)
    EndSession = Rpc(sessions.EndSessionRequest, sessions.EndSessionResponse)
    ListSessions = Rpc(sessions.ListSessionsRequest, sessions.ListSessionsResponse)
    ListSignInTries = Rpc(sessions.ListSignInTriesRequest, sessions.ListSignInTriesResponse)


class TokensClient(Client):
    CreateToken = Rpc(tokens.CreateTokenRequest, tokens.CreateTokenResponse)
    ListTokens = Rpc(tokens.ListTokensRequest, tokens.ListTokensResponse)
    RevokeToken = Rpc(tokens.RevokeTokenRequest, tokens.PersonalAccessToken)


class SecondFactorsClient(Client):
    AddPasskey = Rpc(factors.AddPasskeyRequest, factors.AddSecondFactorResponse)
    CompleteSignIn = Rpc(factors.CompleteSignInRequest, identity.Session)
    CompleteStepUp = Rpc(factors.CompleteStepUpRequest, factors.SecondFactors)
    ConfirmTotp = Rpc(factors.ConfirmTotpRequest, factors.AddSecondFactorResponse)
    GetSecondFactors = Rpc(factors.GetSecondFactorsRequest, factors.SecondFactors)
    MakeRecoveryCodes = Rpc(factors.MakeRecoveryCodesRequest, factors.MakeRecoveryCodesResponse)
    RemovePasskey = Rpc(factors.RemovePasskeyRequest, factors.SecondFactors)
    RemoveTotp = Rpc(factors.RemoveTotpRequest, factors.SecondFactors)
    StartPasskey = Rpc(factors.StartPasskeyRequest, factors.StartPasskeyResponse)
    StartStepUp = Rpc(factors.StartStepUpRequest, SecondFactorChallenge)
    StartTotp = Rpc(factors.StartTotpRequest, factors.StartTotpResponse)


class TeamClient(Client):
    AcceptAdminInvite = Rpc(team.AcceptAdminInviteRequest, team.Admin)
    DismissAdmin = Rpc(team.DismissAdminRequest, team.Admin)
    ListAdmins = Rpc(team.ListAdminsRequest, team.ListAdminsResponse)


class SettingsClient(Client):
    GetPlatformSettings = Rpc(
        platform_settings.GetPlatformSettingsRequest, platform_settings.PlatformSettings
    )
    ListPlatformSettingsChanges = Rpc(
        platform_settings.ListPlatformSettingsChangesRequest,
        platform_settings.ListPlatformSettingsChangesResponse,
    )
    UpdatePlatformSettings = Rpc(
        platform_settings.UpdatePlatformSettingsRequest, platform_settings.PlatformSettings
    )


class ProfilesClient(Client):
    BatchGetMerchantNames = Rpc(profiles.BatchGetMerchantNamesRequest, profiles.BatchGetMerchantNamesResponse)
    BatchGetUserNames = Rpc(profiles.BatchGetUserNamesRequest, profiles.BatchGetUserNamesResponse)
    DeleteMerchantLogo = Rpc(profiles.DeleteMerchantLogoRequest, profiles.MerchantProfile)
    DeleteMyPicture = Rpc(profiles.DeleteMyPictureRequest, identity.User)
    GetMerchantProfile = Rpc(profiles.GetMerchantProfileRequest, profiles.MerchantProfile)
    GetPublicMerchant = Rpc(profiles.GetPublicMerchantRequest, profiles.MerchantProfile)
    SetMerchantLogo = Rpc(profiles.SetMerchantLogoRequest, profiles.MerchantProfile)
    SetMyPicture = Rpc(profiles.SetMyPictureRequest, identity.User)
    UpdateMe = Rpc(profiles.UpdateMeRequest, identity.User)
    UpdateMerchantProfile = Rpc(profiles.UpdateMerchantProfileRequest, profiles.MerchantProfile)


class NotificationsClient(Client):
    GetChoices = Rpc(notifications.GetChoicesRequest, notifications.NotificationChoices)
    GetUnreadCount = Rpc(notifications.GetUnreadCountRequest, notifications.UnreadCount)
    GetUnsubscription = Rpc(notifications.GetUnsubscriptionRequest, notifications.UnsubscribeResponse)
    ListNotifications = Rpc(notifications.ListNotificationsRequest, notifications.ListNotificationsResponse)
    ListUndeliveredMails = Rpc(
        notifications.ListUndeliveredMailsRequest, notifications.ListUndeliveredMailsResponse
    )
    MarkAllRead = Rpc(notifications.MarkAllReadRequest, notifications.UnreadCount)
    MarkRead = Rpc(notifications.MarkReadRequest, notifications.UnreadCount)
    Unsubscribe = Rpc(notifications.UnsubscribeRequest, notifications.UnsubscribeResponse)
    UpdateChoices = Rpc(notifications.UpdateChoicesRequest, notifications.NotificationChoices)


class CatalogClient(Client):
    ApproveService = Rpc(catalog.ApproveServiceRequest, catalog.Service)
    BatchGetMarketplaceServices = Rpc(
        catalog.BatchGetMarketplaceServicesRequest, catalog.BatchGetMarketplaceServicesResponse
    )
    BatchGetServiceNames = Rpc(catalog.BatchGetServiceNamesRequest, catalog.BatchGetServiceNamesResponse)
    BatchGetServices = Rpc(catalog.BatchGetServicesRequest, catalog.BatchGetServicesResponse)
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
    UseSigningKey = Rpc(catalog.UseSigningKeyRequest, catalog.Service)


class RevisionsClient(Client):
    ApproveRevision = Rpc(revisions.ApproveRevisionRequest, revision.ServiceRevision)
    GetRevision = Rpc(revisions.GetRevisionRequest, revisions.GetRevisionResponse)
    ListPendingRevisions = Rpc(revisions.ListPendingRevisionsRequest, revisions.ListPendingRevisionsResponse)
    ListServiceRevisions = Rpc(revisions.ListServiceRevisionsRequest, revisions.ListServiceRevisionsResponse)
    RejectRevision = Rpc(revisions.RejectRevisionRequest, revision.ServiceRevision)
    WithdrawRevision = Rpc(revisions.WithdrawRevisionRequest, revision.ServiceRevision)


class LifecycleClient(Client):
    ReinstateService = Rpc(lifecycle.ReinstateServiceRequest, catalog.Service)
    RetireService = Rpc(lifecycle.RetireServiceRequest, catalog.Service)
    SuspendService = Rpc(lifecycle.SuspendServiceRequest, catalog.Service)
    WithdrawService = Rpc(lifecycle.WithdrawServiceRequest, catalog.Service)


class OpenapiClient(Client):
    DeleteOpenapiDocument = Rpc(openapi_service.DeleteOpenapiDocumentRequest, catalog.Service)
    GetApiReference = Rpc(openapi_service.GetApiReferenceRequest, openapi.ApiReference)
    GetMarketplaceOpenapiDocument = Rpc(
        openapi_service.GetMarketplaceOpenapiDocumentRequest, openapi_service.OpenapiDocument
    )
    GetOpenapiDocument = Rpc(openapi_service.GetOpenapiDocumentRequest, openapi_service.OpenapiDocument)
    SetOpenapiDocument = Rpc(openapi_service.SetOpenapiDocumentRequest, catalog.Service)


class DiscoveryClient(Client):
    GetMarketplaceFacets = Rpc(discovery.GetMarketplaceFacetsRequest, discovery.MarketplaceFacets)
    ListRelatedServices = Rpc(discovery.ListRelatedServicesRequest, discovery.ListRelatedServicesResponse)


class InvitationsClient(Client):
    AcceptInvitation = Rpc(invitations.AcceptInvitationRequest, catalog.MarketplaceService)
    CreateInvitation = Rpc(invitations.CreateInvitationRequest, invitations.CreateInvitationResponse)
    ListInvitations = Rpc(invitations.ListInvitationsRequest, invitations.ListInvitationsResponse)
    RevokeInvitation = Rpc(invitations.RevokeInvitationRequest, invitations.Invitation)


class KeysClient(Client):
    ApproveAccess = Rpc(keys.ApproveAccessRequest, keys.AccessRequest)
    CreateKey = Rpc(keys.CreateKeyRequest, keys.CreateKeyResponse)
    DenyAccess = Rpc(keys.DenyAccessRequest, keys.AccessRequest)
    GetKey = Rpc(keys.GetKeyRequest, keys.Key)
    GetProjectSpendCap = Rpc(keys.GetProjectSpendCapRequest, keys.ProjectSpendCap)
    GetSpendCap = Rpc(keys.GetSpendCapRequest, keys.ConsumerSpendCap)
    ListAccessRequests = Rpc(keys.ListAccessRequestsRequest, keys.ListAccessRequestsResponse)
    ListConsumerAccessRequests = Rpc(
        keys.ListConsumerAccessRequestsRequest, keys.ListConsumerAccessRequestsResponse
    )
    ListKeys = Rpc(keys.ListKeysRequest, keys.ListKeysResponse)
    RequestAccess = Rpc(keys.RequestAccessRequest, keys.AccessRequest)
    RevokeKey = Rpc(keys.RevokeKeyRequest, keys.Key)
    SetKeySpendCap = Rpc(keys.SetKeySpendCapRequest, keys.Key)
    SetProjectSpendCap = Rpc(keys.SetProjectSpendCapRequest, keys.ProjectSpendCap)
    SetSpendCap = Rpc(keys.SetSpendCapRequest, keys.ConsumerSpendCap)


class KeySettingsClient(Client):
    BatchGetKeyActivity = Rpc(
        key_settings.BatchGetKeyActivityRequest, key_settings.BatchGetKeyActivityResponse
    )
    DisableKey = Rpc(key_settings.DisableKeyRequest, keys.Key)
    EnableKey = Rpc(key_settings.EnableKeyRequest, keys.Key)
    EndPreviousSecret = Rpc(key_settings.EndPreviousSecretRequest, keys.Key)
    RotateKey = Rpc(key_settings.RotateKeyRequest, key_settings.RotateKeyResponse)
    SetAllowedCalls = Rpc(key_settings.SetAllowedCallsRequest, keys.Key)
    SetAllowedNetworks = Rpc(key_settings.SetAllowedNetworksRequest, keys.Key)
    SetKeyServices = Rpc(key_settings.SetKeyServicesRequest, keys.Key)
    UpdateKey = Rpc(key_settings.UpdateKeyRequest, keys.Key)


class GrantsClient(Client):
    EndConsumerGrant = Rpc(grants.EndGrantRequest, grants.Grant)
    EndGrant = Rpc(grants.EndGrantRequest, grants.Grant)
    GetAccessPolicy = Rpc(grants.GetAccessPolicyRequest, grants.AccessPolicy)
    ListConsumerGrants = Rpc(grants.ListConsumerGrantsRequest, grants.ListConsumerGrantsResponse)
    ListGrants = Rpc(grants.ListGrantsRequest, grants.ListGrantsResponse)
    ListKeysOfConsumer = Rpc(grants.ListKeysOfConsumerRequest, keys.ListKeysResponse)
    SetAccessPolicy = Rpc(grants.SetAccessPolicyRequest, grants.AccessPolicy)
    WithdrawAccessRequest = Rpc(grants.WithdrawAccessRequestRequest, keys.AccessRequest)


class ServiceConsumersClient(Client):
    ApproveMerchantAccess = Rpc(
        service_consumers.DecideMerchantAccessRequest, service_consumers.MerchantAccessRequest
    )
    BlockServiceConsumer = Rpc(
        service_consumers.BlockServiceConsumerRequest, service_consumers.ServiceConsumer
    )
    DenyMerchantAccess = Rpc(
        service_consumers.DecideMerchantAccessRequest, service_consumers.MerchantAccessRequest
    )
    EndServiceConsumerAccess = Rpc(
        service_consumers.EndServiceConsumerAccessRequest, service_consumers.ServiceConsumer
    )
    GetServiceConsumer = Rpc(
        service_consumers.GetServiceConsumerRequest, service_consumers.ServiceConsumerDetail
    )
    ListMerchantAccessRequests = Rpc(
        service_consumers.ListMerchantAccessRequestsRequest,
        service_consumers.ListMerchantAccessRequestsResponse,
    )
    ListServiceConsumers = Rpc(
        service_consumers.ListServiceConsumersRequest, service_consumers.ListServiceConsumersResponse
    )
    RevokeServiceKey = Rpc(service_consumers.RevokeServiceKeyRequest, service_consumers.ServiceKey)
    SetServiceConsumerLimits = Rpc(
        service_consumers.SetServiceConsumerLimitsRequest, service_consumers.ServiceConsumer
    )
    UnblockServiceConsumer = Rpc(
        service_consumers.UnblockServiceConsumerRequest, service_consumers.ServiceConsumer
    )


class ExposuresClient(Client):
    GetExposureChoice = Rpc(exposures.GetExposureChoiceRequest, exposures.ExposureChoice)
    HandInKey = Rpc(exposures.HandInKeyRequest, exposures.HandInKeyResponse)
    ListExposures = Rpc(exposures.ListExposuresRequest, exposures.ListExposuresResponse)
    ReportFoundKeys = Rpc(exposures.ReportFoundKeysRequest, exposures.ReportFoundKeysResponse)
    SetExposureChoice = Rpc(exposures.ExposureChoice, exposures.ExposureChoice)


class UsageClient(Client):
    GetConsumerUsage = Rpc(usage.GetUsageRequest, usage.UsageReport)
    GetMerchantUsage = Rpc(usage.GetUsageRequest, usage.UsageReport)
    GetPlatformUsage = Rpc(usage.GetUsageRequest, usage.UsageReport)
    ListConsumerCalls = Rpc(usage.ListCallsRequest, usage.ListCallsResponse)
    ListDayRoots = Rpc(usage.ListDayRootsRequest, usage.ListDayRootsResponse)
    ListMerchantCalls = Rpc(usage.ListCallsRequest, usage.ListCallsResponse)
    ListPlatformCalls = Rpc(usage.ListCallsRequest, usage.ListCallsResponse)
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
    ListCommissionRates = Rpc(billing.ListCommissionRatesRequest, billing.ListCommissionRatesResponse)
    ListConsumerInvoices = Rpc(billing.ListInvoicesRequest, billing.ListInvoicesResponse)
    ListInvoiceLineEvents = Rpc(billing.ListInvoiceLineEventsRequest, billing.ListInvoiceLineEventsResponse)
    ListInvoiceRuns = Rpc(billing.ListInvoiceRunsRequest, billing.ListInvoiceRunsResponse)
    ListInvoices = Rpc(billing.ListInvoicesRequest, billing.ListInvoicesResponse)
    ListMerchantInvoices = Rpc(billing.ListInvoicesRequest, billing.ListInvoicesResponse)
    MarkInvoicePaid = Rpc(billing.MarkInvoicePaidRequest, billing.Invoice)
    PreviewPrice = Rpc(billing.PreviewPriceRequest, billing.PricePreview)
    SendInvoice = Rpc(billing.SendInvoiceRequest, billing.Invoice)
    SimulatePrice = Rpc(billing.SimulatePriceRequest, billing.PriceSimulation)
    VoidInvoice = Rpc(billing.VoidInvoiceRequest, billing.Invoice)
    WatchConsumerSpend = StreamRpc(
        billing.BatchGetConsumerSpendRequest, billing.BatchGetConsumerSpendResponse
    )
    WatchMerchantRevenue = StreamRpc(
        billing.BatchGetMerchantRevenueRequest, billing.BatchGetMerchantRevenueResponse
    )


class ProjectSpendClient(Client):
    GetProjectSpend = Rpc(project_spend.GetProjectSpendRequest, project_spend.GetProjectSpendResponse)


class ProjectImagesClient(Client):
    ListProjectPulls = Rpc(project_images.ListProjectPullsRequest, project_images.ListProjectPullsResponse)


class RegistryClient(Client):
    BatchGetNewestImages = Rpc(registry.BatchGetNewestImagesRequest, registry.BatchGetNewestImagesResponse)
    CreatePushToken = Rpc(registry.CreatePushTokenRequest, registry.CreatePushTokenResponse)
    DeprecateImage = Rpc(registry.DeprecateImageRequest, registry.Image)
    GetImage = Rpc(registry.GetImageRequest, registry.Image)
    ListAllImages = Rpc(registry.ListAllImagesRequest, registry.ListAllImagesResponse)
    ListConsumerImages = Rpc(registry.ListConsumerImagesRequest, registry.ListConsumerImagesResponse)
    ListImages = Rpc(registry.ListImagesRequest, registry.ListImagesResponse)
    ListPushTokens = Rpc(registry.ListPushTokensRequest, registry.ListPushTokensResponse)
    RevokePushToken = Rpc(registry.RevokePushTokenRequest, registry.PushToken)


class DeadLettersClient(Client):
    DismissDeadLetter = Rpc(dead_letters.DismissDeadLetterRequest, dead_letters.DeadLetter)
    ListDeadLetters = Rpc(dead_letters.ListDeadLettersRequest, dead_letters.ListDeadLettersResponse)
    ReplayDeadLetter = Rpc(dead_letters.ReplayDeadLetterRequest, dead_letters.DeadLetter)


class Api:
    """All services; who is asking is the person of one session."""

    def __init__(self, stubs: Mapping[str, object], access_token: AccessToken, deadlines: Deadlines) -> None:
        self.access_token = access_token
        self.identity = IdentityClient("identity", stubs, access_token, deadlines)
        self.projects = ProjectsClient("projects", stubs, access_token, deadlines)
        self.sessions = SessionsClient("sessions", stubs, access_token, deadlines)
        self.tokens = TokensClient("tokens", stubs, access_token, deadlines)
        self.second_factors = SecondFactorsClient("second_factors", stubs, access_token, deadlines)
        self.team = TeamClient("team", stubs, access_token, deadlines)
        self.settings = SettingsClient("settings", stubs, access_token, deadlines)
        self.profiles = ProfilesClient("profiles", stubs, access_token, deadlines)
        self.notifications = NotificationsClient("notifications", stubs, access_token, deadlines)
        self.catalog = CatalogClient("catalog", stubs, access_token, deadlines)
        self.revisions = RevisionsClient("revisions", stubs, access_token, deadlines)
        self.lifecycle = LifecycleClient("lifecycle", stubs, access_token, deadlines)
        self.openapi = OpenapiClient("openapi", stubs, access_token, deadlines)
        self.discovery = DiscoveryClient("discovery", stubs, access_token, deadlines)
        self.invitations = InvitationsClient("invitations", stubs, access_token, deadlines)
        self.keys = KeysClient("keys", stubs, access_token, deadlines)
        self.key_settings = KeySettingsClient("key_settings", stubs, access_token, deadlines)
        self.grants = GrantsClient("grants", stubs, access_token, deadlines)
        self.service_consumers = ServiceConsumersClient("service_consumers", stubs, access_token, deadlines)
        self.exposures = ExposuresClient("exposures", stubs, access_token, deadlines)
        self.usage = UsageClient("usage", stubs, access_token, deadlines)
        self.reports = ReportsClient("reports", stubs, access_token, deadlines)
        self.alerts = AlertsClient("alerts", stubs, access_token, deadlines)
        self.billing = BillingClient("billing", stubs, access_token, deadlines)
        self.project_spend = ProjectSpendClient("project_spend", stubs, access_token, deadlines)
        self.project_images = ProjectImagesClient("project_images", stubs, access_token, deadlines)
        self.registry = RegistryClient("registry", stubs, access_token, deadlines)
        self._stubs = stubs
        self._deadlines = deadlines

    def dead_letters_of(self, keeper: str) -> DeadLettersClient:
        """The dead letters that one service keeps, of GRPC_SERVERS. Its requests name it too."""
        return DeadLettersClient(f"{keeper}_dead_letters", self._stubs, self.access_token, self._deadlines)


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
