"""Templates and what they all know: macros as `ui.…`, filters, the visit."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from ams.billing.v1.billing_service_pb2 import InvoiceStatus
from ams.catalog.v1.events_pb2 import ServiceStatus, ServiceType
from ams.identity.v1.events_pb2 import Standing
from ams.keys.v1.events_pb2 import KeyStatus
from ams.keys.v1.keys_service_pb2 import AccessRequestStatus
from ams.policy.v1.policy_pb2 import Role
from ams.registry.v1.events_pb2 import ImageStatus, LicenseModel
from ams.registry.v1.registry_service_pb2 import PushTokenStatus
from ams_common.clock import utc_now
from ams_common.ids import uuid7
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ams_bff.http import guards
from ams_bff.http.assets import Assets
from ams_bff.ui import formats, forms, lists, navigation
from ams_bff.ui.audit_words import audit_words
from ams_bff.ui.samples import call_samples

_TEMPLATES = Path(__file__).parents[1] / "templates"
_UTC = ZoneInfo("UTC")
_ENUMS = {
    "service_status": ServiceStatus,
    "service_type": ServiceType,
    "standing": Standing,
    "key_status": KeyStatus,
    "access_status": AccessRequestStatus,
    "invoice_status": InvoiceStatus,
    "role": Role,
    "image_status": ImageStatus,
    "license_model": LicenseModel,
    "push_token_status": PushTokenStatus,
}
_PLAIN: dict[str, Callable[..., Any]] = {
    "money": formats.money,
    "number": formats.number,
    "size": formats.size,
    "count": formats.count,
    "breakable": formats.breakable,
    "counted": formats.counted,
    "month": formats.month,
    "sentence": forms.sentence,
    "short_ids": formats.short_ids,
    "audit_words": audit_words,
}


class Pages:
    """Renders templates."""

    def __init__(
        self,
        assets: Assets,
        visit_of: Callable[[], Any],
        consume_url: str,
        support_email: str,
        is_debug: bool,
    ) -> None:
        """`visit_of` gives the visit being served, which macros can't be handed. `consume_url`: the
        consumption endpoint. `support_email`: whom people write to."""
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=is_debug,
        )
        self._visit_of = visit_of
        self._environment.globals.update(
            asset=assets.url,
            call_samples=call_samples,
            consume_url=consume_url,
            csrf=self._csrf,
            lists=lists,
            navigation=navigation,
            now=utc_now,
            support_email=support_email,
            visit_key=lambda: uuid7().hex,
            ui=SimpleNamespace(),
            enums=SimpleNamespace(**_ENUMS),
            roles=SimpleNamespace(**dict(Role.items())),
        )
        self._environment.filters.update(self._filters())
        self._load_macros()

    def render(self, template: str, visit: Any, **context: Any) -> str:
        """The page's text. A page that extends `layout` is only its block `results` for a script."""
        layout = "layout/part.html" if visit.is_partial else "layout/app.html"
        return self._environment.get_template(template).render(visit=visit, layout=layout, **context)

    def _load_macros(self) -> None:
        """Every macro of templates/ui/ becomes an attribute of `ui`, also for other macros."""
        ui = self._environment.globals["ui"]
        for path in sorted((_TEMPLATES / "ui").glob("*.html")):
            module = self._environment.get_template(f"ui/{path.name}").module
            for name, macro in vars(module).items():
                if not name.startswith("_"):
                    setattr(ui, name, macro)

    def _filters(self) -> dict[str, Callable[..., Any]]:
        def when(value: Any) -> Markup:
            return formats.shown_time(value, self._zone())

        def day(value: Any) -> Markup:
            return formats.shown_time(value, self._zone(), "%-d %b %Y")

        def exact(value: Any) -> Markup:
            return formats.shown_time(value, self._zone(), "%-d %b %Y, %H:%M:%S")

        def ago(value: Any) -> Markup:
            return formats.ago(value, utc_now())

        return _PLAIN | {"when": when, "day": day, "exact": exact, "ago": ago} | _enum_filters()

    def _zone(self) -> ZoneInfo:
        visit = self._visit_of()
        return visit.zone if visit is not None else _UTC

    def _csrf(self) -> Markup:
        token = self._visit_of().csrf_token
        return Markup('<input type="hidden" name="{}" value="{}">').format(guards.FIELD, token)


def _enum_filters() -> dict[str, Callable[[int], str]]:
    return {name: partial(formats.enum_label, enum=enum) for name, enum in _ENUMS.items()}
