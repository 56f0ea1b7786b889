"""Renders templates, which all know the macros of templates/ui/ as `ui.…`, the filters, and their visit."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from ams.billing.v1.billing_service_pb2 import InvoiceKind, InvoiceRunStatus, InvoiceStatus, LineKind
from ams.catalog.v1.events_pb2 import ServiceStatus, ServiceType
from ams.catalog.v1.forwarding_pb2 import CredentialKind, LimitScope
from ams.catalog.v1.metadata_pb2 import ImageType, Visibility
from ams.catalog.v1.openapi_pb2 import OperationDifference
from ams.catalog.v1.revision_pb2 import RevisionStatus
from ams.identity.v1.events_pb2 import ProjectRole, Standing
from ams.identity.v1.identity_service_pb2 import InviteState
from ams.keys.v1.events_pb2 import KeyStatus
from ams.keys.v1.keys_service_pb2 import AccessParty, AccessRequestStatus, LossReason
from ams.policy.v1.policy_pb2 import Role
from ams.registry.v1.events_pb2 import ImageStatus, LicenseModel
from ams.registry.v1.registry_service_pb2 import PushTokenStatus
from ams_common.clock import utc_now
from ams_common.ids import uuid7
from google.protobuf.timestamp_pb2 import Timestamp
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from ams_bff.ui import formats, forms, navigation
from ams_bff.ui.audit_words import audit_words
from ams_bff.ui.devices import device_name
from ams_bff.ui.field_words import (
    authentication,
    category_name,
    field_label,
    field_value,
    percent,
    revision_words,
)
from ams_bff.ui.forwarding import in_force
from ams_bff.ui.price_words import charge_rule_lines, price_lines, price_short, tier_tables
from ams_bff.ui.samples import call_samples, operation_sample

TEMPLATES = Path(__file__).parents[1] / "templates"
ENUMS = {
    "service_status": ServiceStatus,
    "service_type": ServiceType,
    "standing": Standing,
    "project_role": ProjectRole,
    "key_status": KeyStatus,
    "access_status": AccessRequestStatus,
    "invite_state": InviteState,
    "access_party": AccessParty,
    "loss_reason": LossReason,
    "invoice_status": InvoiceStatus,
    "invoice_kind": InvoiceKind,
    "invoice_run_status": InvoiceRunStatus,
    "line_kind": LineKind,
    "role": Role,
    "image_status": ImageStatus,
    "license_model": LicenseModel,
    "push_token_status": PushTokenStatus,
    "limit_scope": LimitScope,
    "credential_kind": CredentialKind,
    "visibility": Visibility,
    "image_type": ImageType,
    "revision_status": RevisionStatus,
    "operation_difference": OperationDifference,
}


def _time_filter(form: str) -> Callable[[Context, Timestamp | datetime], Markup]:
    @pass_context
    def shown(context: Context, value: Timestamp | datetime) -> Markup:
        zone: ZoneInfo = context["zone"]
        return formats.shown_time(value, zone, form)

    return shown


_FILTERS: dict[str, Callable[..., object]] = {
    "money": formats.money,
    "number": formats.number,
    "size": formats.size,
    "count": formats.count,
    "breakable": formats.breakable,
    "counted": formats.counted,
    "device": device_name,
    "duration": formats.duration,
    "in_force": in_force,
    "month": formats.month,
    "utc_day": formats.utc_day,
    "span": formats.span,
    "decimal": formats.decimal,
    "charge_rule_lines": charge_rule_lines,
    "price_lines": price_lines,
    "price_short": price_short,
    "tier_tables": tier_tables,
    "sentence": forms.sentence,
    "short_ids": formats.short_ids,
    "audit_words": audit_words,
    "authentication": authentication,
    "category_name": category_name,
    "field_label": field_label,
    "field_value": field_value,
    "percent": percent,
    "revision_words": revision_words,
    "ago": lambda value: formats.ago(value, utc_now()),
    "when": _time_filter("%-d %b %Y, %H:%M"),
    "day": _time_filter("%-d %b %Y"),
    "exact": _time_filter("%-d %b %Y, %H:%M:%S"),
    "utc": lambda value: formats.shown_time(value, ZoneInfo("UTC")),
    "clock": _time_filter("%H:%M:%S"),
    **{name: partial(formats.enum_label, enum=enum) for name, enum in ENUMS.items()},
}


class Renderer:
    """One for the process: templates are compiled once."""

    def __init__(
        self, asset_url: Callable[[str], str], consume_url: str, support_email: str, is_debug: bool
    ) -> None:
        """`asset_url` gives an asset's path by its name. `consume_url`: the consumption endpoint.
        `support_email`: whom people write to. `is_debug`: changed templates are read anew."""
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=is_debug,
        )
        self._environment.globals.update(
            asset=asset_url,
            call_samples=call_samples,
            operation_sample=operation_sample,
            consume_url=consume_url,
            navigation=navigation,
            support_email=support_email,
            new_idempotency_key=lambda: uuid7().hex,
            enums=SimpleNamespace(**ENUMS),
            roles=SimpleNamespace(**dict(Role.items())),
        )
        self._environment.filters.update(_FILTERS)
        sprite = asset_url("icons.svg")

        # A page has dozens of icons, and a macro would draw each anew: that took longer than making macros.
        @lru_cache
        def icon(name: str, style: str = "") -> Markup:
            return Markup('<svg class="icon {}" aria-hidden="true"><use href="{}#{}"></use></svg>').format(
                style, sprite, name
            )

        self._icon = icon
        self._macro_files = {
            name: file
            for file in sorted(f"ui/{path.name}" for path in (TEMPLATES / "ui").glob("*.html"))
            for name in vars(self._environment.get_template(file).module)
            if not name.startswith("_")
        }

    def render(self, template: str, zone: ZoneInfo, visit: object, **context: object) -> str:
        """The template's text. `zone`: the reader's, in which times are shown. Macros know the visit too."""
        known: dict[str, object] = {"zone": zone, "visit": visit}
        shared = {**self._environment.globals, **known}
        known["ui"] = shared["ui"] = _Macros(self._environment, self._macro_files, shared, self._icon)
        return self._environment.get_template(template).render(known, **context)


class _Macros:
    """The macros of templates/ui/ for one page, as attributes, and `icon`.

    A file's macros are made when the first of them is used: making all takes as long as drawing a small page.
    """

    def __init__(
        self,
        environment: Environment,
        files: Mapping[str, str],
        context: dict[str, object],
        icon: Callable[..., Markup],
    ) -> None:
        self._environment = environment
        self._files = files
        self._context = context
        self.icon = icon

    def __getattr__(self, name: str) -> Any:
        if name not in self._files:
            raise AttributeError(name)
        # Shared: Jinja would merge the context with the globals anew for each file.
        module = self._environment.get_template(self._files[name]).make_module(self._context, shared=True)
        vars(self).update((key, macro) for key, macro in vars(module).items() if not key.startswith("_"))
        return vars(self)[name]
