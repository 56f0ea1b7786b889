from typing import Any

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import second_factor_service_pb2 as factor_pb
from ams.identity.v1 import session_service_pb2 as session_pb
from ams.identity.v1 import token_service_pb2 as token_pb
from ams_common.testing.policies import EVERYBODY, callers_let_in
from ams_common.testing.tokens import TestIssuer
from identity_svc.rpc import services_of

PEOPLE = {"admin", "merchant", "consumer"}
ADMINS = {"admin"}


async def test_each_rpc_of_sessions_lets_in_whom_it_is_for(identity: Any, issuer: TestIssuer) -> None:
    descriptor = session_pb.DESCRIPTOR.services_by_name["SessionService"]
    let_in = await callers_let_in(identity.session_channel, descriptor, issuer)
    services = {"keys-svc", "catalog-svc", "usage-svc", "billing-svc", "registry-svc"}
    assert let_in == {
        "ListSessions": PEOPLE,
        "EndSession": PEOPLE,
        "EndOtherSessions": PEOPLE,
        "ListSignInTries": ADMINS,
        "ListTokenEnds": services,
    }


async def test_each_rpc_of_tokens_lets_in_whom_it_is_for(identity: Any, issuer: TestIssuer) -> None:
    descriptor = token_pb.DESCRIPTOR.services_by_name["TokenService"]
    assert await callers_let_in(identity.token_channel, descriptor, issuer) == {
        "CreateToken": PEOPLE,
        "ListTokens": PEOPLE,
        "RevokeToken": PEOPLE,
        # Whoever is nobody's token is refused as that.
        "TradeToken": EVERYBODY,
    }


async def test_each_rpc_of_second_factors_lets_in_whom_it_is_for(identity: Any, issuer: TestIssuer) -> None:
    descriptor = factor_pb.DESCRIPTOR.services_by_name["SecondFactorService"]
    assert await callers_let_in(identity.factor_channel, descriptor, issuer) == {
        "GetSecondFactors": PEOPLE,
        "StartPasskey": PEOPLE,
        "AddPasskey": PEOPLE,
        "RemovePasskey": PEOPLE,
        "StartTotp": PEOPLE,
        "ConfirmTotp": PEOPLE,
        "RemoveTotp": PEOPLE,
        "MakeRecoveryCodes": PEOPLE,
        "StartStepUp": PEOPLE,
        "CompleteStepUp": PEOPLE,
        "CompleteSignIn": EVERYBODY,
    }


async def test_each_rpc_lets_in_whom_it_is_for(identity: Any, issuer: TestIssuer) -> None:
    descriptor = pb.DESCRIPTOR.services_by_name["IdentityService"]
    let_in = await callers_let_in(identity.channel, descriptor, issuer)
    assert let_in == {
        "StartSignIn": EVERYBODY,
        "RegisterConsumer": EVERYBODY,
        "RegisterMerchant": EVERYBODY,
        "ListSignInIssuers": EVERYBODY,
        "StartOidcSignIn": EVERYBODY,
        "CompleteOidcSignIn": EVERYBODY,
        "VerifyChallenge": EVERYBODY,
        "RefreshSession": EVERYBODY,
        "SignOut": EVERYBODY,
        "GetMe": PEOPLE,
        "GetJwks": EVERYBODY,
        "IssueServiceToken": EVERYBODY,
        "CreateInvite": ADMINS,
        "ListInvites": ADMINS,
        "RevokeInvite": ADMINS,
        "ResendInvite": ADMINS,
        "ListMerchants": ADMINS,
        "GetMerchant": ADMINS,
        "SuspendMerchant": ADMINS,
        "ReinstateMerchant": ADMINS,
        "ListConsumers": ADMINS,
        "GetConsumer": ADMINS,
        "BatchGetConsumers": ADMINS,
        "BlockConsumer": ADMINS,
        "UnblockConsumer": ADMINS,
        "GetRevisions": {"keys-svc", "catalog-svc", "usage-svc", "billing-svc", "registry-svc"},
        "ListStandingChanges": {"keys-svc", "catalog-svc"},
        "ListAuditRecords": ADMINS,
    }


async def test_each_rpc_beside_them_lets_in_whom_it_is_for(
    servicer: Any, issuer: TestIssuer, serve_rpc: Any
) -> None:
    found = {
        service.name: await callers_let_in(await serve_rpc(service, add), service, issuer)
        for service, add in services_of(servicer)
        if service.name in ("TeamService", "SettingsService", "ProfileService", "NotificationsService")
    }
    assert found == {
        "TeamService": {"ListAdmins": ADMINS, "AcceptAdminInvite": PEOPLE, "DismissAdmin": ADMINS},
        "SettingsService": {
            "GetPlatformSettings": {*ADMINS, "keys-svc", "catalog-svc", "usage-svc"},
            "UpdatePlatformSettings": ADMINS,
            "ListPlatformSettingsChanges": ADMINS,
        },
        "ProfileService": {
            "UpdateMe": PEOPLE,
            "SetMyPicture": PEOPLE,
            "DeleteMyPicture": PEOPLE,
            "GetPicture": EVERYBODY,
            "GetMerchantProfile": {"merchant"},
            "UpdateMerchantProfile": {"merchant"},
            "SetMerchantLogo": {"merchant"},
            "DeleteMerchantLogo": {"merchant"},
            "GetPublicMerchant": EVERYBODY,
            "BatchGetUserNames": ADMINS,
            "BatchGetMerchantNames": ADMINS,
        },
        "NotificationsService": {
            "ListNotifications": PEOPLE,
            "GetUnreadCount": PEOPLE,
            "MarkRead": PEOPLE,
            "MarkAllRead": PEOPLE,
            "GetChoices": PEOPLE,
            "UpdateChoices": PEOPLE,
            # The token of a mail's link is the proof.
            "GetUnsubscription": EVERYBODY,
            "Unsubscribe": EVERYBODY,
            "ListUndeliveredMails": ADMINS,
        },
    }
