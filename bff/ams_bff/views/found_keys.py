"""Keys that were found in public: handed in by anybody, and what their owners want done then."""

from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.errors import AppError
from starlette.responses import Response

from ams_bff.http.routing import action, page
from ams_bff.http.visits import Visit
from ams_bff.ui.forms import Form

PATH = "/found-key"
CHOICE_PATH = "/dashboard/api-keys/found"


async def show_form(visit: Visit) -> Response:
    return await visit.render("keys/found.html", form=Form(), is_thanked=False)


async def hand_in(visit: Visit) -> Response:
    """Thanks whoever hands a key in, whether there is such a key or not."""
    form = visit.form
    try:
        for name in ("secret", "found_at"):
            if not form[name]:
                form.refuse(name, "is required")
        form.check()
        await visit.api.exposures.HandInKey(
            secret=form["secret"], found_at=form["found_at"], exposed_since=form["exposed_since"]
        )
    except AppError as error:
        return await visit.render("keys/found.html", form=form.refused(error), is_thanked=False)
    return await visit.render("keys/found.html", form=Form(), is_thanked=True)


async def show_choice(visit: Visit) -> Response:
    choice = await visit.api.exposures.GetExposureChoice()
    form = Form.starting(choice="disable" if choice.disables_found_keys else "tell")
    return await visit.render("keys/found_choice.html", form=form)


async def choose(visit: Visit) -> Response:
    await visit.api.exposures.SetExposureChoice(disables_found_keys=visit.form["choice"] != "tell")
    return await visit.redirect(CHOICE_PATH, "Your choice is kept.")


VIEWS = (
    page(PATH, show_form),
    action(PATH, hand_in),
    page(CHOICE_PATH, show_choice, CONSUMER),
    action(CHOICE_PATH, choose, CONSUMER),
)
