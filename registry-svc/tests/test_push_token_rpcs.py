"""Making, reading and revoking push tokens."""

from typing import Any

import pytest
from ams.catalog.v1.events_pb2 import (
    ACTIVE,
    API,
    DOCKER,
    DRAFT,
    SERVICE_RETIRED,
    SERVICE_SUSPENDED,
    ServiceSnapshot,
)
from ams.identity.v1.events_pb2 import STANDING_ACTIVE, STANDING_SUSPENDED, STANDING_UNSPECIFIED
from ams.registry.v1 import registry_service_pb2 as pb
from ams_common.errors import (
    AppError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from ams_common.ids import uuid7
from registry_svc.rpc.push_tokens import require_pushable

MERCHANT_ID = uuid7()


def service(**fields: Any) -> ServiceSnapshot:
    usual: dict[str, Any] = {
        "service_id": str(uuid7()),
        "merchant_id": str(MERCHANT_ID),
        "type": DOCKER,
        "status": DRAFT,
        "merchant_standing": STANDING_ACTIVE,
    }
    return ServiceSnapshot(**{**usual, **fields})


@pytest.mark.parametrize(
    ("snapshot", "code"),
    [
        (None, "service_not_found"),
        (service(merchant_id=str(uuid7())), "service_not_found"),
        (service(type=API), "service_not_docker"),
        (service(status=SERVICE_SUSPENDED), "service_suspended"),
        (service(status=SERVICE_RETIRED), "service_retired"),
        (service(merchant_standing=STANDING_SUSPENDED), "merchant_suspended"),
        (service(), ""),
        (service(status=ACTIVE, merchant_standing=STANDING_UNSPECIFIED), ""),
    ],
)
def test_only_a_merchants_own_docker_service_takes_images(
    snapshot: ServiceSnapshot | None, code: str
) -> None:
    if not code:
        require_pushable(snapshot, MERCHANT_ID)
        return
    with pytest.raises(AppError) as refused:
        require_pushable(snapshot, MERCHANT_ID)
    assert refused.value.code == code


async def test_no_token_is_made_while_the_catalog_is_away(merchant: Any, shelf: Any) -> None:
    with pytest.raises(UnavailableError):
        await merchant("CreatePushToken", service_id=str(uuid7()))
    assert await shelf.audits() == []


async def test_a_merchant_lists_its_own_tokens_newest_first(merchant: Any, outsider: Any, shelf: Any) -> None:
    made = [await shelf.token(merchant.user_id) for _ in range(3)]
    await shelf.token(outsider.user_id)
    page = await merchant("ListPushTokens", page_size=2)
    assert [t.push_token_id for t in page.push_tokens] == [str(t.push_token_id) for t in reversed(made[1:])]
    rest = await merchant("ListPushTokens", page_size=2, page_token=page.next_page_token)
    assert [t.push_token_id for t in rest.push_tokens] == [str(made[0].push_token_id)]
    one = await merchant("ListPushTokens", service_id=str(made[1].service_id))
    assert [t.repository for t in one.push_tokens] == [made[1].repository]


async def test_a_revoked_token_is_revoked_for_good_and_audited_once(merchant: Any, shelf: Any) -> None:
    token_id = str((await shelf.token(merchant.user_id)).push_token_id)
    revoked = await merchant("RevokePushToken", push_token_id=token_id)
    assert (revoked.status, revoked.HasField("revoked_at")) == (pb.PUSH_TOKEN_REVOKED, True)
    with pytest.raises(FailedPreconditionError) as refused:
        await merchant("RevokePushToken", push_token_id=token_id)
    assert refused.value.code == "push_token_already_revoked"
    assert await shelf.audits() == [(str(merchant.user_id), "push_token.revoke", "push_token", token_id)]


async def test_an_expired_token_reads_as_expired_and_may_be_revoked(merchant: Any, shelf: Any) -> None:
    token = await shelf.token(merchant.user_id, age_hours=25)
    (shown,) = (await merchant("ListPushTokens")).push_tokens
    assert shown.status == pb.PUSH_TOKEN_EXPIRED
    revoked = await merchant("RevokePushToken", push_token_id=str(token.push_token_id))
    assert revoked.status == pb.PUSH_TOKEN_REVOKED


async def test_somebody_elses_token_looks_like_none(merchant: Any, outsider: Any, shelf: Any) -> None:
    token = await shelf.token(merchant.user_id)
    for token_id in (str(token.push_token_id), str(uuid7())):
        with pytest.raises(NotFoundError) as refused:
            await outsider("RevokePushToken", push_token_id=token_id)
        assert refused.value.code == "push_token_not_found"
    assert await shelf.audits() == []


async def test_hostile_fields_are_refused(merchant: Any) -> None:
    hostile: list[tuple[str, dict[str, Any]]] = [
        ("CreatePushToken", {"service_id": "x" * 1_000_000}),
        ("CreatePushToken", {"service_id": str(uuid7()), "name": "x" * 81}),
        ("CreatePushToken", {"service_id": str(uuid7()), "ttl_hours": -1}),
        ("CreatePushToken", {"service_id": str(uuid7()), "ttl_hours": 8761}),
        ("ListPushTokens", {"page_token": "x"}),
        ("ListPushTokens", {"page_size": 201}),
        ("RevokePushToken", {"push_token_id": "1; DROP TABLE push_tokens"}),
        ("GetImage", {"image_id": ""}),
        ("DeprecateImage", {"image_id": "x"}),
        ("ListImages", {"service_id": "x"}),
    ]
    for method, fields in hostile:
        with pytest.raises(InvalidArgumentError):
            await merchant(method, **fields)
