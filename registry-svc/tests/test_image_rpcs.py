"""Reading and deprecating images."""

from dataclasses import replace
from typing import Any

import pytest
from ams.registry.v1.events_pb2 import IMAGE_ACTIVE, IMAGE_DEPRECATED, IMAGE_REJECTED, RegistryEvent
from ams_common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from ams_common.ids import uuid7


async def test_a_merchant_sees_its_images_and_an_admin_all(
    merchant: Any, outsider: Any, admin: Any, shelf: Any
) -> None:
    token = await shelf.token(merchant.user_id)
    mine = [await shelf.image(token, f"1.{number}.0") for number in range(3)]
    theirs = await shelf.image(await shelf.token(outsider.user_id))
    page = await merchant("ListImages", page_size=2)
    assert [image.tag for image in page.images] == ["1.2.0", "1.1.0"]
    rest = await merchant("ListImages", page_size=2, page_token=page.next_page_token)
    assert [image.tag for image in rest.images] == ["1.0.0"]
    assert rest.images[0].pull_command == f"docker pull registry.example/{token.repository}:1.0.0"
    everything = await admin("ListAllImages")
    assert {image.image_id for image in everything.images} == {
        str(image.image_id) for image in [*mine, theirs]
    }
    of_one = await admin("ListAllImages", merchant_id=str(outsider.user_id))
    assert [image.image_id for image in of_one.images] == [str(theirs.image_id)]


async def test_an_admin_gets_the_newest_images_of_many_services_at_once(
    merchant: Any, outsider: Any, admin: Any, shelf: Any
) -> None:
    tokens = [await shelf.token(merchant.user_id), await shelf.token(outsider.user_id)]
    for token in tokens:
        for number in range(3):
            await shelf.image(token, f"1.{number}.0")
    await shelf.image(tokens[0], "2.0.0", status="rejected", rejection_reason="No", license_model=None)
    await shelf.image(tokens[0], "3.0.0", status="deleted")
    services = [str(token.service_id) for token in tokens]
    answer = await admin("BatchGetNewestImages", service_ids=[*services, str(uuid7())], images_of_each=2)
    newest = [(image.service_id, image.tag) for image in answer.images]
    assert newest == sorted(newest, key=lambda each: each[0])
    assert [tag for service_id, tag in newest if service_id == services[0]] == ["2.0.0", "1.2.0"]
    assert [tag for service_id, tag in newest if service_id == services[1]] == ["1.2.0", "1.1.0"]
    mistakes: list[dict[str, Any]] = [
        {"service_ids": []},
        {"service_ids": ["x"]},
        {"images_of_each": 0},
        {"images_of_each": 21},
    ]
    for wrong in mistakes:
        with pytest.raises(InvalidArgumentError):
            await admin("BatchGetNewestImages", **{"service_ids": services, "images_of_each": 2, **wrong})


async def test_rejected_images_show_their_reason_and_deleted_ones_not_at_all(
    merchant: Any, shelf: Any
) -> None:
    token = await shelf.token(merchant.user_id)
    await shelf.image(token, "1.0.0", status="deleted")
    await shelf.image(token, "latest", status="rejected", rejection_reason="No version", license_model=None)
    (shown,) = (await merchant("ListImages")).images
    assert (shown.status, shown.rejection_reason, shown.pull_command) == (IMAGE_REJECTED, "No version", "")
    assert (await merchant("ListImages", status=IMAGE_ACTIVE)).images == []


async def test_somebody_elses_image_looks_like_none(
    merchant: Any, outsider: Any, admin: Any, shelf: Any
) -> None:
    image_id = str((await shelf.image(await shelf.token(merchant.user_id))).image_id)
    for method in ("GetImage", "DeprecateImage"):
        for wanted in (image_id, str(uuid7())):
            with pytest.raises(NotFoundError) as refused:
                await outsider(method, image_id=wanted)
            assert refused.value.code == "image_not_found"
    assert (await merchant("GetImage", image_id=image_id)).status == IMAGE_ACTIVE
    assert (await admin("GetImage", image_id=image_id)).image_id == image_id
    assert await shelf.audits() == []


async def test_deprecating_is_done_once_audited_and_told(merchant: Any, shelf: Any) -> None:
    image_id = str((await shelf.image(await shelf.token(merchant.user_id))).image_id)
    assert (await merchant("DeprecateImage", image_id=image_id)).status == IMAGE_DEPRECATED
    with pytest.raises(FailedPreconditionError) as refused:
        await merchant("DeprecateImage", image_id=image_id)
    assert refused.value.code == "image_not_active"
    assert await shelf.audits() == [(str(merchant.user_id), "image.deprecate", "image", image_id)]
    async with shelf.database.connection() as connection:
        payload = await connection.fetchval("SELECT payload FROM outbox WHERE topic = 'registry.events'")
    assert RegistryEvent.FromString(payload).image_changed.status == IMAGE_DEPRECATED


async def test_consumers_are_not_told_of_images_while_their_grants_are_unknown(
    consumer: Any, merchant: Any, shelf: Any
) -> None:
    await shelf.image(await shelf.token(merchant.user_id))
    with pytest.raises(UnavailableError):
        await consumer("ListConsumerImages")


async def test_an_active_version_keeps_its_digest_and_a_rejection_never_hides_it(
    merchant: Any, shelf: Any
) -> None:
    token = await shelf.token(merchant.user_id)
    first = await shelf.image(token)
    with pytest.raises(AssertionError):
        await shelf.image(token)
    again = await shelf.image(token, digest=first.digest)
    assert (again.image_id, again.digest) == (first.image_id, first.digest)
    rejected = replace(first, image_id=uuid7(), status="rejected", rejection_reason="No")
    async with shelf.database.change_by_system("test", audited=False) as change:
        await change.store.save_rejection(rejected)
    assert (await merchant("GetImage", image_id=str(first.image_id))).status == IMAGE_ACTIVE
