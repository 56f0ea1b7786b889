"""The part of a service's form that says how its calls are forwarded."""

import re

from ams.catalog.v1.forwarding_pb2 import LIMIT_SCOPE_UNSPECIFIED, ForwardingSettings, LimitScope
from ams.policy.v1.policy_pb2 import field as field_rule

from ams_bff.ui.forms import Form

_PREFIX = "forwarding."
# One name for all that is on or off: a form sends only what is on.
SWITCHES = f"{_PREFIX}switches"
ORIGINS = f"{_PREFIX}cors_origins"
_BOUNDS = {
    each.name: each.GetOptions().Extensions[field_rule].max
    for each in ForwardingSettings.DESCRIPTOR.fields
    if each.GetOptions().Extensions[field_rule].HasField("max")
}
SCOPE = f"{_PREFIX}limit_scope"
_SCOPES = {str(scope): scope for scope in LimitScope.values()}
_SWITCHED = ("passes_cookies", "allows_websockets", "shows_costs")


def starting_values(settings: ForwardingSettings) -> dict[str, str | list[str]]:
    """What the controls hold; one for a number is empty where the platform's default is in force."""
    numbers = {f"{_PREFIX}{name}": str(getattr(settings, name) or "") for name in _BOUNDS}
    switched_on = [name for name in _SWITCHED if getattr(settings, name)]
    origins = "\n".join(settings.cors_origins)
    return {**numbers, SWITCHES: switched_on, ORIGINS: origins, SCOPE: str(settings.limit_scope)}


def settings_of(form: Form) -> ForwardingSettings:
    """What was typed; what isn't a number within its bounds is an error of its field."""
    origins = [origin for origin in re.split(r"[\s,]+", form[ORIGINS].lower()) if origin]
    settings = ForwardingSettings(cors_origins=origins)
    settings.limit_scope = _SCOPES.get(form[SCOPE], LIMIT_SCOPE_UNSPECIFIED)
    for name, most in _BOUNDS.items():
        if form[f"{_PREFIX}{name}"]:
            setattr(settings, name, form.whole(f"{_PREFIX}{name}", 0, most))
    for name in form.all(SWITCHES):
        if name in _SWITCHED:
            setattr(settings, name, True)
    return settings
