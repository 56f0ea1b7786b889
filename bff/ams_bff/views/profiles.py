"""What somebody shows of themselves, and a merchant of its company."""

from collections.abc import Awaitable
from typing import Protocol

from ams.identity.v1 import profile_service_pb2 as pb
from ams.policy.v1.policy_pb2 import MERCHANT
from ams_common.errors import AppError
from google.protobuf.field_mask_pb2 import FieldMask
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form

_MINE = "/settings/profile"
_COMPANY = "/merchant/profile"
_MOST_LINKS = 5


class SetPicture(Protocol):
    def __call__(self, *, content: bytes) -> Awaitable[object]: ...


async def show_profile(visit: Visit) -> Response:
    return await _profile_page(visit)


async def _profile_page(visit: Visit, form: Form | None = None, picture: Form | None = None) -> Response:
    person = visit.session.person
    assert person is not None, "a page for who is signed in"
    refused = form or picture
    return await visit.render(
        "settings/profile.html",
        refused.status if refused else None,
        profile=form or Form.starting(name=person.name),
        picture=picture or Form(),
    )


async def change_name(visit: Visit) -> Response:
    try:
        await visit.api.profiles.UpdateMe(name=visit.form["name"])
    except AppError as error:
        return await _profile_page(visit, form=visit.form.refused(error))
    await visit.session.refresh()
    return await visit.redirect(_MINE, "Your name is changed.")


async def set_picture(visit: Visit) -> Response:
    if (refused := await _refusal(visit, visit.api.profiles.SetMyPicture)) is not None:
        return await _profile_page(visit, picture=refused)
    await visit.session.refresh()
    return await visit.redirect(_MINE, "Your picture is changed.")


async def delete_picture(visit: Visit) -> Response:
    await visit.api.profiles.DeleteMyPicture()
    await visit.session.refresh()
    return await visit.redirect(_MINE, "Your picture is deleted. Your initial stands for it.")


async def _refusal(visit: Visit, set_it: SetPicture) -> Form | None:
    """Sends the posted file; the form with what is wrong when it isn't taken."""
    form = visit.form
    try:
        if not (content := form.files.get("content", b"")):
            form.refuse("content", "is required: choose a file")
        form.check()
        await set_it(content=content)
    except AppError as error:
        return form.refused(error)
    return None


async def show_company(visit: Visit) -> Response:
    return await _company_page(visit)


async def _company_page(visit: Visit, form: Form | None = None, logo: Form | None = None) -> Response:
    profile = await visit.api.profiles.GetMerchantProfile()
    refused = form or logo
    return await visit.render(
        "merchant/profile.html",
        refused.status if refused else None,
        profile=profile,
        form=form.beside(_starting(profile)) if form else _starting(profile),
        logo=logo or Form(),
        link_numbers=range(_MOST_LINKS),
    )


def _starting(profile: pb.MerchantProfile) -> Form:
    links = {
        f"links.{number}.{part}": getattr(link, part)
        for number, link in enumerate(profile.links)
        for part in ("label", "url")
    }
    return Form.starting(etag=profile.etag, about=profile.about, **links)


async def change_company(visit: Visit) -> Response:
    form = visit.form
    rows = _close_up(form)
    try:
        await visit.api.profiles.UpdateMerchantProfile(
            update_mask=FieldMask(paths=["about", "links"]),
            about=form["about"],
            links=[pb.MerchantLink(label=label, url=url) for label, url in rows],
            etag=form["etag"],
        )
    except AppError as error:
        return await _company_page(visit, form=form.refused(error))
    return await visit.redirect(_COMPANY, "Your public profile is changed.")


def _close_up(form: Form) -> list[tuple[str, str]]:
    """Labels and addresses of the links, without the rows that were left empty: in the form too, so that what
    is refused is said of the row that it stands in."""
    typed = [(form[f"links.{n}.label"], form[f"links.{n}.url"]) for n in range(_MOST_LINKS)]
    rows = [row for row in typed if any(row)]
    for number in range(_MOST_LINKS):
        label, url = rows[number] if number < len(rows) else ("", "")
        form.values |= {f"links.{number}.label": [label], f"links.{number}.url": [url]}
    return rows


async def set_logo(visit: Visit) -> Response:
    if (refused := await _refusal(visit, visit.api.profiles.SetMerchantLogo)) is not None:
        return await _company_page(visit, logo=refused)
    return await visit.redirect(_COMPANY, "Your logo is changed.")


async def delete_logo(visit: Visit) -> Response:
    await visit.api.profiles.DeleteMerchantLogo()
    return await visit.redirect(_COMPANY, "Your logo is deleted.")


VIEWS = (
    page(_MINE, show_profile, is_for_members=True),
    action(_MINE, change_name, is_for_members=True),
    action(f"{_MINE}/picture", set_picture, is_for_members=True),
    action(f"{_MINE}/picture/delete", delete_picture, is_for_members=True),
    page(_COMPANY, show_company, MERCHANT),
    action(_COMPANY, change_company, MERCHANT),
    action(f"{_COMPANY}/logo", set_logo, MERCHANT),
    action(f"{_COMPANY}/logo/delete", delete_logo, MERCHANT),
)
