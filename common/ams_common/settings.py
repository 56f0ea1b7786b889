"""Settings: environment variables → a frozen dataclass, checked once at the start.

A settings class is a frozen, kw_only dataclass whose fields are made by `setting()`. A field
`database_url` of a class loaded with the prefix "KEYS" reads KEYS_DATABASE_URL, or the variable named
by `name`.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

from ams_common.errors import SettingsError

T = TypeVar("T")

ENVIRONMENT_VARIABLE = "AMS_ENVIRONMENT"
ENVIRONMENTS = ("development", "test", "production")

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def setting(
    default: Any = dataclasses.MISSING,
    *,
    development: Any = dataclasses.MISSING,
    name: str | None = None,
    secret: bool = False,
    production: Callable[[Any], str | None] | None = None,
) -> Any:
    """One setting.

    `default` holds everywhere; `development` holds outside production only, where the variable must
    be set to something else. `name` replaces the prefixed variable name. `secret` keeps the value out
    of repr(). `production` returns what is wrong with a value in production, or None.
    """
    metadata = {"development": development, "name": name, "production": production}
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


def https_only(value: Any) -> str | None:
    """For `production=`: the value must be an https URL (what keeps the session cookie Secure)."""
    return None if str(value).startswith("https://") else "must be an https:// URL"


def switched_off(value: Any) -> str | None:
    """For `production=`: a debug switch must be off."""
    return "must be off" if value else None


def strong_secret(value: Any) -> str | None:
    """For `production=`: a secret needs at least 24 characters."""
    return None if len(str(value)) >= 24 else "must have at least 24 characters"


def load(settings_class: type[T], prefix: str, environ: Mapping[str, str] = os.environ) -> T:
    """Read `settings_class` from `environ`.

    Raises SettingsError that names every variable that is missing, unreadable or not for production.
    """
    environment = environ.get(ENVIRONMENT_VARIABLE, "development")
    if environment not in ENVIRONMENTS:
        raise SettingsError([f"{ENVIRONMENT_VARIABLE} must be one of {', '.join(ENVIRONMENTS)}"])
    types = get_type_hints(settings_class)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in dataclasses.fields(settings_class):  # type: ignore[arg-type]
        variable = field.metadata.get("name") or f"{prefix}_{field.name.upper()}"
        try:
            values[field.name] = _read(field, variable, types[field.name], environ, environment)
        except ValueError as error:
            problems.append(f"{variable} {error}")
    if problems:
        raise SettingsError(problems)
    return settings_class(**values)


def _read(
    field: dataclasses.Field[Any], variable: str, kind: Any, environ: Mapping[str, str], environment: str
) -> Any:
    development = field.metadata.get("development", dataclasses.MISSING)
    is_production = environment == "production"
    text = environ.get(variable)
    if text is not None:
        value = _parse(text, kind)
    elif field.default is not dataclasses.MISSING:
        value = field.default
    elif development is not dataclasses.MISSING and not is_production:
        value = development
    else:
        raise ValueError("must be set")
    if is_production and development is not dataclasses.MISSING and value == development:
        raise ValueError("still has the value meant for development")
    check = field.metadata.get("production")
    if is_production and check is not None and (wrong := check(value)):
        raise ValueError(f"{wrong} in production")
    return value


def _parse(text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise ValueError("must be true or false")
        return text.lower() in _TRUE
    if kind is int or kind is float:
        try:
            return kind(text)
        except ValueError:
            raise ValueError("must be a number") from None
    if kind == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def parse_listen(text: str) -> tuple[str, int]:
    """ "127.0.0.1:7001" or "[::1]:7001" → host and port. Raises ValueError for what is neither."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What every gRPC service is told by its environment."""

    database_url: str = setting(secret=True)  # the service's own role; its search_path is its schema
    listen: str = setting()  # host:port
    identity_address: str = setting(name="IDENTITY_ADDRESS")
    kafka_bootstrap_servers: str = setting(name="KAFKA_BOOTSTRAP_SERVERS")
    kafka_topic_prefix: str = setting("", name="KAFKA_TOPIC_PREFIX")
    log_level: str = setting("INFO", name="LOG_LEVEL")
    metrics_listen: str = setting("")  # host:port of the operator's metrics; "": they aren't served
