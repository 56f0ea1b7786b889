"""What people and merchants show of themselves, and what of a picture is kept."""

import asyncio
import zlib
from io import BytesIO
from struct import pack
from typing import Any

import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import profile_service_pb2 as profile_pb
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7
from google.protobuf.field_mask_pb2 import FieldMask
from identity_svc import pictures
from PIL import Image

CORA, MIA = "cora@example.com", "mia@example.com"


def picture(
    kind: str = "PNG", size: tuple[int, int] = (40, 20), colour: str = "red", **options: Any
) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, kind, **options)
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content), formats=["WEBP"])


async def shown(identity: Any, path: str) -> bytes:
    request = profile_pb.GetPictureRequest(picture_id=path.removeprefix("/pictures/"))
    answer = await identity.profiles.GetPicture(request)
    assert answer.media_type == "image/webp"
    return bytes(answer.content)


async def set_picture(identity: Any, session: pb.Session, content: bytes) -> Any:
    request = profile_pb.SetMyPictureRequest(content=content)
    return await identity.profiles.SetMyPicture(request, metadata=identity.acting(session))


async def test_somebody_changes_the_own_name(identity: Any) -> None:
    cora = await identity.register_consumer(CORA)
    request = profile_pb.UpdateMeRequest(name="  Cora   Lee ")
    user = await identity.profiles.UpdateMe(request, metadata=identity.acting(cora))
    assert user.name == "Cora Lee"
    assert (await identity.sign_in(CORA)).user.name == "Cora Lee"
    [record] = await identity.audit_records("profile.update")
    [change] = record.changes
    assert (change.field, change.before, change.after) == ("name", "Cora", "Cora Lee")
    hidden = profile_pb.UpdateMeRequest(name="Cora\u202eeel")
    error = await identity.error_of(identity.profiles.UpdateMe(hidden, metadata=identity.acting(cora)))
    assert error.code == "invalid_argument"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_becomes_a_small_square_webp(identity: Any, kind: str) -> None:
    cora = await identity.register_consumer(CORA)
    user = await set_picture(identity, cora, picture(kind))
    image = opened(await shown(identity, user.avatar_url))
    assert image.size == (256, 256)
    assert (await identity.sign_in(CORA)).user.avatar_url == user.avatar_url


async def test_a_new_picture_has_a_new_path_and_the_old_one_is_gone(identity: Any) -> None:
    cora = await identity.register_consumer(CORA)
    first = (await set_picture(identity, cora, picture())).avatar_url
    second = (await set_picture(identity, cora, picture(colour="blue"))).avatar_url
    assert first != second
    assert (await identity.error_of(shown(identity, first))).code == "picture_not_found"
    assert await shown(identity, second)
    request = profile_pb.DeleteMyPictureRequest()
    user = await identity.profiles.DeleteMyPicture(request, metadata=identity.acting(cora))
    assert user.avatar_url == ""
    assert await identity.fetch("SELECT 1 FROM pictures") == []
    assert len(await identity.audit_records("profile.set_picture")) == 2
    assert len(await identity.audit_records("profile.delete_picture")) == 1


async def test_pictures_set_at_once_leave_one(identity: Any) -> None:
    cora = await identity.register_consumer(CORA)
    await asyncio.gather(*(set_picture(identity, cora, picture()) for _ in range(4)))
    assert len(await identity.fetch("SELECT 1 FROM pictures")) == 1


def png(width: int, height: int) -> bytes:
    """A picture of a few bytes that unpacks to width × height pixels, as far as its head says."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return pack(">I", len(content)) + kind + content + pack(">I", zlib.crc32(kind + content))

    head = pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"no picture", "PNG, JPEG or WebP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "PNG, JPEG or WebP"),
        (picture("GIF"), "PNG, JPEG or WebP"),
        (picture("TIFF"), "PNG, JPEG or WebP"),
        (picture("JPEG", (400, 400))[:-500], "PNG, JPEG or WebP"),
        (png(4001, 4000), "16 million"),
        (png(60_000, 60_000), "PNG, JPEG or WebP"),  # a decoder of its own accord refuses that many
        (png(0, 0), "PNG, JPEG or WebP"),
    ],
)
async def test_what_is_no_small_picture_is_refused(content: bytes, problem: str) -> None:
    for make in (pictures.portrait, pictures.logo):
        with pytest.raises(InvalidArgumentError, match=problem) as caught:
            await make(content)
        assert (caught.value.code, caught.value.violations[0].field) == ("picture_invalid", "content")


async def test_nothing_but_what_can_be_seen_is_kept() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"  # ImageDescription
    exif[0x8825] = {1: "N", 2: (47.0, 22.0, 0.0)}  # where
    kept = await pictures.portrait(picture("JPEG", exif=exif, comment=b"a secret"))
    assert not opened(kept).getexif()
    assert b"taken at home" not in kept and b"a secret" not in kept


async def test_a_picture_stands_upright_as_its_camera_meant_it() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    kept = await pictures.logo(picture("JPEG", (40, 20), exif=exif))
    assert opened(kept).size == (20, 40)


async def test_a_logo_keeps_its_shape_and_what_shows_through(identity: Any) -> None:
    file = BytesIO()
    Image.new("RGBA", (1000, 100), (0, 0, 0, 0)).save(file, "PNG")
    image = opened(await pictures.logo(file.getvalue()))
    assert image.size == (512, 51)
    assert image.mode == "RGBA"


async def test_pictures_that_are_too_large_are_refused_unread(identity: Any) -> None:
    cora = await identity.register_consumer(CORA)
    error = await identity.error_of(set_picture(identity, cora, bytes(2 * 1024 * 1024 + 1)))
    assert error.code == "invalid_argument"


async def profile_of(identity: Any, merchant: str) -> Any:
    request = profile_pb.GetPublicMerchantRequest(merchant=merchant)
    return await identity.profiles.GetPublicMerchant(request)


def update(identity: Any, session: pb.Session, *paths: str, **values: Any) -> Any:
    request = profile_pb.UpdateMerchantProfileRequest(update_mask=FieldMask(paths=list(paths)), **values)
    return identity.profiles.UpdateMerchantProfile(request, metadata=identity.acting(session))


LINK = profile_pb.MerchantLink(label="Docs", url="https://geo.example/docs")


async def test_a_merchants_profile_is_open_to_everybody_by_slug_and_id(identity: Any) -> None:
    mia = await identity.register_merchant(MIA)
    changed = await update(
        identity, mia, "about", "links", about=" We know where.\n\nAnd when. ", links=[LINK]
    )
    for name in ("geo-ltd", mia.user.user_id):
        assert await profile_of(identity, name) == changed
    assert (changed.company_name, changed.about) == ("Geo Ltd", "We know where.\n\nAnd when.")
    assert list(changed.links) == [LINK]
    [record] = await identity.audit_records("merchant_profile.update")
    assert {c.field for c in record.changes} == {"about", "links[0].label", "links[0].url"}


async def test_only_what_the_mask_names_is_changed(identity: Any) -> None:
    mia = await identity.register_merchant(MIA)
    await update(identity, mia, "about", "links", about="Old", links=[LINK])
    changed = await update(identity, mia, "about", about="New")
    assert (changed.about, list(changed.links)) == ("New", [LINK])
    for paths in ([], ["slug"]):
        assert (await identity.error_of(update(identity, mia, *paths))).code == "update_mask_invalid"


@pytest.mark.parametrize(
    "link",
    [
        {"label": "Docs", "url": "javascript:alert(1)"},
        {"label": "Docs", "url": "//geo.example"},
        {"label": "", "url": "https://geo.example"},
        {"label": "x\u202ey", "url": "https://geo.example"},
    ],
)
async def test_a_link_leads_to_the_web_and_says_where(identity: Any, link: dict[str, str]) -> None:
    mia = await identity.register_merchant(MIA)
    error = await identity.error_of(update(identity, mia, "links", links=[profile_pb.MerchantLink(**link)]))
    assert error.code == "invalid_argument"


async def test_a_logo_is_shown_until_it_is_deleted(identity: Any) -> None:
    mia = await identity.register_merchant(MIA)
    metadata = identity.acting(mia)
    request = profile_pb.SetMerchantLogoRequest(content=picture())
    changed = await identity.profiles.SetMerchantLogo(request, metadata=metadata)
    assert opened(await shown(identity, changed.logo_url)).size == (40, 20)
    assert (await profile_of(identity, "geo-ltd")).logo_url == changed.logo_url
    deletion = profile_pb.DeleteMerchantLogoRequest()
    assert (await identity.profiles.DeleteMerchantLogo(deletion, metadata=metadata)).logo_url == ""
    assert await identity.fetch("SELECT 1 FROM pictures") == []


async def test_a_suspended_merchant_and_no_merchant_are_not_found_alike(identity: Any) -> None:
    mia = await identity.register_merchant(MIA)
    cora = await identity.register_consumer(CORA)
    request = pb.SuspendMerchantRequest(merchant_id=mia.user.user_id)
    await identity.stub.SuspendMerchant(request, metadata=identity.admin)
    errors = [
        await identity.error_of(profile_of(identity, name))
        for name in ("geo-ltd", mia.user.user_id, cora.user.user_id, str(uuid7()), "nobody")
    ]
    assert {(error.code, error.message) for error in errors} == {
        ("merchant_not_found", "There is no such merchant.")
    }


async def test_who_is_no_merchant_has_no_merchants_profile(identity: Any) -> None:
    cora = await identity.register_consumer(CORA)
    error = await identity.error_of(update(identity, cora, "about", about="x"))
    assert error.code == "role_required"


async def test_admins_get_names_of_merchants_whatever_their_standing(identity: Any) -> None:
    mia, cora = await identity.register_merchant(MIA), await identity.register_consumer(CORA)
    merchant_id = mia.user.user_id
    # Who is no merchant has no company.
    request = profile_pb.BatchGetMerchantNamesRequest(
        merchant_ids=[merchant_id, cora.user.user_id, str(uuid7())]
    )

    async def names() -> list[tuple[str, str]]:
        answer = await identity.profiles.BatchGetMerchantNames(request, metadata=identity.admin)
        return [(each.merchant_id, each.company_name) for each in answer.merchants]

    profile = await profile_of(identity, merchant_id)
    assert await names() == [(merchant_id, profile.company_name)]
    suspension = pb.SuspendMerchantRequest(merchant_id=merchant_id)
    await identity.stub.SuspendMerchant(suspension, metadata=identity.admin)
    assert await names() == [(merchant_id, profile.company_name)]


async def test_admins_get_many_consumers_as_one_by_one(identity: Any) -> None:
    cora, mia = await identity.register_consumer(CORA), await identity.register_merchant(MIA, "Geo Ltd")
    # Who is no consumer is none here either.
    ids = [cora.user.user_id, mia.user.user_id, str(uuid7())]
    request = pb.BatchGetConsumersRequest(consumer_ids=ids)
    answer = await identity.stub.BatchGetConsumers(request, metadata=identity.admin)
    one = pb.GetConsumerRequest(consumer_id=cora.user.user_id)
    assert list(answer.consumers) == [await identity.stub.GetConsumer(one, metadata=identity.admin)]
    for wrong in ([], ["cora"], [str(uuid7())] * 201):
        call = identity.stub.BatchGetConsumers(
            pb.BatchGetConsumersRequest(consumer_ids=wrong), metadata=identity.admin
        )
        assert (await identity.error_of(call)).code == "invalid_argument"


async def test_admins_get_names_of_those_that_there_are(identity: Any) -> None:
    cora = await identity.register_consumer(CORA)
    nobody = str(uuid7())
    request = profile_pb.BatchGetUserNamesRequest(user_ids=[cora.user.user_id, nobody])
    answer = await identity.profiles.BatchGetUserNames(request, metadata=identity.admin)
    assert [(u.user_id, u.name, u.email) for u in answer.users] == [(cora.user.user_id, "Cora", CORA)]
