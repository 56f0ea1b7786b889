"""The rules of platform settings: their bounds, what a change makes of them, who may register. Pure, but for
the store."""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from ams.identity.v1 import settings_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError
from ams_common.etags import check_etag
from ams_common.field_changes import field_changes
from ams_common.platform_settings import DEFAULTS
from ams_common.queries import QueryStore, one, page, run

# Each from and to, with both. Audit records: no shorter than their owner allows (ams_common.audit_log).
# Calls: longer than topics keep messages, for what is read once more must find itself.
BOUNDS = {
    "audit_retention_days": (180, 3650),
    "usage_retention_days": (62, 3650),
    "max_active_keys": (1, 10_000),
    "max_services": (1, 10_000),
}
CHANGEABLE = frozenset(BOUNDS) | {"is_registration_open", "allowed_mail_domains"}
_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+")


def changed(present: pb.PlatformSettings, request: pb.UpdatePlatformSettingsRequest) -> pb.PlatformSettings:
    """The settings with what the request's mask names, as their next version.

    Raises InvalidArgumentError update_mask_invalid or setting_invalid, AbortedError etag_mismatch.
    """
    fields = set(request.update_mask.paths)
    if not fields or not fields <= CHANGEABLE:
        known = ", ".join(sorted(CHANGEABLE))
        violation = FieldViolation("updateMask", f"must name some of {known}")
        raise InvalidArgumentError("update_mask_invalid", "The update mask names no setting.", [violation])
    if violations := [violation for field in sorted(fields) for violation in _violations(request, field)]:
        sentence = f"{violations[0].field} {violations[0].description}."
        raise InvalidArgumentError("setting_invalid", sentence, violations)
    check_etag(request.etag, present)
    settings = pb.PlatformSettings()
    settings.CopyFrom(present)
    settings.version += 1
    for field in fields:
        if field == "allowed_mail_domains":
            del settings.allowed_mail_domains[:]
            settings.allowed_mail_domains.extend(sorted(set(request.allowed_mail_domains)))
        else:
            setattr(settings, field, getattr(request, field))
    return settings


def _violations(request: pb.UpdatePlatformSettingsRequest, field: str) -> Iterable[FieldViolation]:
    name = request.DESCRIPTOR.fields_by_name[field].json_name
    if field == "allowed_mail_domains":
        for number, domain in enumerate(request.allowed_mail_domains):
            if not _DOMAIN.fullmatch(domain):
                yield FieldViolation(f"{name}[{number}]", "must be a domain such as example.com")
    elif field in BOUNDS:
        least, most = BOUNDS[field]
        if not least <= getattr(request, field) <= most:
            yield FieldViolation(name, f"must be from {least:,} to {most:,}")


def require_admissible(settings: pb.PlatformSettings, email: str) -> None:
    """Raises FailedPreconditionError registration_closed or mail_domain_not_allowed for an address that may
    not become an account by itself."""
    if not settings.is_registration_open:
        raise FailedPreconditionError("registration_closed", "Nobody can register at the moment.")
    domain = email.rpartition("@")[2].lower()
    allowed = settings.allowed_mail_domains
    if allowed and not any(domain == each or domain.endswith(f".{each}") for each in allowed):
        raise FailedPreconditionError(
            "mail_domain_not_allowed", "Addresses of this domain can't register here."
        )


def settings_message(*, version: int, settings: str) -> pb.PlatformSettings:
    """`settings` is the JSON that `settings_json` made, perhaps before there were all of today's settings."""
    stored = json.loads(settings)
    known = {field: stored.get(field, getattr(DEFAULTS, field)) for field in CHANGEABLE}
    return pb.PlatformSettings(version=version, **known)


def settings_json(settings: pb.PlatformSettings) -> str:
    values: dict[str, Any] = {field: getattr(settings, field) for field in CHANGEABLE}
    return json.dumps({**values, "allowed_mail_domains": list(settings.allowed_mail_domains)})


def change_message(
    *,
    version: int,
    settings: str,
    earlier: str | None,
    changed_by: UUID,
    changed_by_name: str,
    changed_at: datetime,
    reason: str,
) -> pb.PlatformSettingsChange:
    after = settings_message(version=version, settings=settings)
    before = DEFAULTS if earlier is None else settings_message(version=version, settings=earlier)
    return pb.PlatformSettingsChange(
        version=version,
        changed_at=to_timestamp(changed_at),
        changed_by=str(changed_by),
        changed_by_name=changed_by_name,
        reason=reason,
        changes=field_changes(before, after, only=CHANGEABLE),
    )


class SettingsStore(QueryStore, package="identity_svc", file="settings_queries.sql"):
    _find_settings = one(settings_message)
    lock_settings = run()
    insert_settings = run()
    list_settings = page(change_message)

    async def find_settings(self) -> pb.PlatformSettings:
        """Those in force."""
        return await self._find_settings() or settings_message(version=DEFAULTS.version, settings="{}")
