"""Kinds of changes, and what each leaves in the tables of the service that makes it."""

from collections.abc import Mapping
from dataclasses import dataclass

OWNERS = ("identity", "catalog", "keys")


@dataclass(frozen=True)
class Kind:
    """`traces`: tables and conditions on a change's own parameters. Each finds one row once the change is
    made, and none before. `is_repeatable`: it takes an idempotency key."""

    owner: str
    traces: tuple[str, ...]
    is_repeatable: bool = False

    @property
    def sql(self) -> str:
        """How many rows each trace finds."""
        return "SELECT " + ", ".join(f"(SELECT count(*) FROM {trace})" for trace in self.traces)


def _identity(*traces: str, is_repeatable: bool = False) -> Kind:
    return Kind("identity", traces, is_repeatable)


def _catalog(*traces: str, is_repeatable: bool = False) -> Kind:
    return Kind("catalog", traces, is_repeatable)


def _keys(*traces: str, is_repeatable: bool = False) -> Kind:
    return Kind("keys", traces, is_repeatable)


_MAILED = "mails WHERE recipient = $1"
_STOPPED = (
    "user_roles WHERE user_id::text = $1 AND standing = $2",
    "token_ends WHERE user_id::text = $1",
)
_SERVICE_HAS_STATUS = "services WHERE service_id::text = $1 AND status = $2"

KINDS: Mapping[str, Kind] = {
    "invite": _identity("invites WHERE email = $1", _MAILED, is_repeatable=True),
    "register": _identity(
        "users WHERE email = $1",
        "user_roles JOIN users USING (user_id) WHERE email = $1 AND standing_version > 0",
        "sessions JOIN users USING (user_id) WHERE email = $1",
        "challenges WHERE email = $1 AND used_at IS NOT NULL",
    ),
    "token: create": _identity("personal_access_tokens WHERE name = $1", is_repeatable=True),
    "token: revoke": _identity(
        "personal_access_tokens WHERE token_id::text = $1 AND revoked_at IS NOT NULL",
        "token_ends WHERE credential = 'token:' || $1",
    ),
    "project: create": _identity(
        "projects WHERE name = $1 AND version > 0",
        "project_members JOIN projects USING (project_id) WHERE projects.name = $1",
        is_repeatable=True,
    ),
    "project: rename": _identity("projects WHERE project_id::text = $1 AND name = $2"),
    "project: invite": _identity("project_invitations WHERE email = $1", _MAILED, is_repeatable=True),
    "project: join": _identity(
        "project_members WHERE project_id::text = $1 AND user_id::text = $2",
        "project_invitations WHERE invitation_id::text = $3 AND outcome = 'accepted'",
    ),
    "project: take over": _identity(
        "projects WHERE project_id::text = $1 AND owner_id::text = $2",
        "project_members WHERE project_id::text = $1 AND user_id::text = $2 AND role = 1",
    ),
    "merchant: suspend": _identity(*_STOPPED),
    "consumer: block": _identity(*_STOPPED),
    "settings": _identity("platform_settings WHERE reason = $1"),
    "service: create": _catalog("services WHERE name = $1", is_repeatable=True),
    "service: submit": _catalog(_SERVICE_HAS_STATUS),
    "service: approve": _catalog(_SERVICE_HAS_STATUS, "price_versions WHERE service_id::text = $1"),
    "service: suspend": _catalog(_SERVICE_HAS_STATUS),
    "service: revise": _catalog("service_revisions WHERE service_id::text = $1"),
    "revision: approve": _catalog(
        "services WHERE service_id::text = $1 AND rate_limit_per_minute = 77",
        "service_revisions WHERE service_id::text = $1 AND status = 'approved'",
    ),
    "price: schedule": _catalog(
        "price_versions WHERE service_id::text = $1 AND starts_at > now()", is_repeatable=True
    ),
    "access: request": _keys("access_requests WHERE service_id::text = $1", is_repeatable=True),
    "access: approve": _keys(
        "access_requests WHERE access_request_id::text = $1 AND status = 'approved'",
        "grants WHERE access_request_id::text = $1",
    ),
    "key: create": _keys(
        "keys WHERE name = $1",
        "key_services JOIN keys USING (key_id) WHERE name = $1",
        is_repeatable=True,
    ),
    "key: edit": _keys("keys WHERE key_id::text = $1 AND name = $2"),
    "key: rotate": _keys(
        "keys WHERE key_id::text = $1 AND rotated_at IS NOT NULL",
        "previous_secrets WHERE key_id::text = $1",
        is_repeatable=True,
    ),
    "key: networks": _keys("keys WHERE key_id::text = $1 AND allowed_networks <> '{}'"),
    "key: disable": _keys("keys WHERE key_id::text = $1 AND disabled_at IS NOT NULL"),
    "key: revoke": _keys("keys WHERE key_id::text = $1 AND revoked_at IS NOT NULL"),
}
