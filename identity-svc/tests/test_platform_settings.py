"""What admins set for the platform: with history, obeyed, and never by halves."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from ams.audit.v1.events_pb2 import AuditRecord
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import settings_service_pb2 as settings_pb
from ams.policy.v1.policy_pb2 import CONSUMER
from ams_common.errors import FailedPreconditionError
from ams_common.ids import uuid7
from ams_common.platform_settings import DEFAULTS
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st
from identity_svc.accounts import appoint_admins
from identity_svc.audit_log import AuditStore, verify
from identity_svc.platform_settings import require_admissible
from identity_svc.retention import purge_audit_log

NEWCOMER = "new@example.com"


async def present(identity: Any) -> settings_pb.PlatformSettings:
    request = settings_pb.GetPlatformSettingsRequest()
    settings: settings_pb.PlatformSettings = await identity.settings.GetPlatformSettings(
        request, metadata=identity.admin
    )
    return settings


async def in_force(identity: Any) -> settings_pb.PlatformSettings:
    """The settings without the etag, as those who obey them have them."""
    settings = await present(identity)
    settings.ClearField("etag")
    return settings


async def update(identity: Any, etag: str = "", reason: str = "", **values: Any) -> Any:
    request = settings_pb.UpdatePlatformSettingsRequest(
        update_mask=FieldMask(paths=list(values)),
        etag=etag,
        reason=reason,
        **values,
    )
    return await identity.settings.UpdatePlatformSettings(request, metadata=identity.admin)


async def refusal(identity: Any, **values: Any) -> Any:
    return await identity.error_of(update(identity, **values))


async def test_until_somebody_changes_them_the_defaults_hold(identity: Any) -> None:
    assert await in_force(identity) == DEFAULTS


async def test_a_change_is_in_force_and_told_with_before_and_after(identity: Any) -> None:
    await appoint_admins(identity.servicer.database, ["ada@example.com"], identity.clock)
    ada = await identity.sign_in("ada@example.com")
    request = settings_pb.UpdatePlatformSettingsRequest(
        update_mask=FieldMask(paths=["max_active_keys", "allowed_mail_domains"]),
        reason="a leaner start",
        max_active_keys=5,
        max_services=1,  # not in the mask
        allowed_mail_domains=["example.org", "example.com", "example.org"],
    )
    changed = await identity.settings.UpdatePlatformSettings(request, metadata=identity.acting(ada))
    assert (changed.version, changed.max_active_keys, changed.max_services) == (1, 5, DEFAULTS.max_services)
    assert await present(identity) == changed
    told = [
        ("allowed_mail_domains", "", "example.com, example.org"),
        ("max_active_keys", "100", "5"),
    ]
    [record] = await identity.audit_records("platform_settings.update")
    assert sorted((c.field, c.before, c.after) for c in record.changes) == told
    answer = await identity.settings.ListPlatformSettingsChanges(
        settings_pb.ListPlatformSettingsChangesRequest(), metadata=identity.admin
    )
    [change] = answer.changes
    assert (change.version, change.changed_by_name, change.reason) == (1, "ada", "a leaner start")
    assert change.changed_by == ada.user.user_id
    assert sorted((c.field, c.before, c.after) for c in change.changes) == told


async def test_the_history_goes_on_page_by_page(identity: Any) -> None:
    for keys in (1, 2, 3):
        await update(identity, max_active_keys=keys)
    seen, token = [], ""
    while True:
        page = await identity.settings.ListPlatformSettingsChanges(
            settings_pb.ListPlatformSettingsChangesRequest(page_size=2, page_token=token),
            metadata=identity.admin,
        )
        seen += [(c.changes[0].before, c.changes[0].after) for c in page.changes]
        if not (token := page.next_page_token):
            break
    assert seen == [("2", "3"), ("1", "2"), ("100", "1")]


async def test_what_changes_nothing_makes_no_version(identity: Any) -> None:
    assert (await update(identity, max_active_keys=100)).version == 0
    assert await identity.audit_records("platform_settings.update") == []


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"audit_retention_days": 179}, "auditRetentionDays"),
        ({"usage_retention_days": 61}, "usageRetentionDays"),
        ({"max_active_keys": 0}, "maxActiveKeys"),
        ({"max_services": 0}, "maxServices"),
        ({"allowed_mail_domains": ["example.com", "@example.com"]}, "allowedMailDomains[1]"),
        ({"allowed_mail_domains": ["Example.com"]}, "allowedMailDomains[0]"),
        ({"allowed_mail_domains": ["localhost"]}, "allowedMailDomains[0]"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    identity: Any, values: dict[str, Any], field: str
) -> None:
    error = await refusal(identity, is_registration_open=False, **values)
    assert error.code == "setting_invalid"
    assert [violation.field for violation in error.violations] == [field]
    assert await in_force(identity) == DEFAULTS


@pytest.mark.parametrize("paths", [[], ["version"], ["max_services", "nothing"]])
async def test_a_mask_names_settings(identity: Any, paths: list[str]) -> None:
    request = settings_pb.UpdatePlatformSettingsRequest(update_mask=FieldMask(paths=paths), max_services=1)
    error = await identity.error_of(
        identity.settings.UpdatePlatformSettings(request, metadata=identity.admin)
    )
    assert error.code == "update_mask_invalid"


async def test_a_change_decided_on_old_settings_is_refused(identity: Any) -> None:
    seen = await present(identity)
    await update(identity, seen.etag, max_services=1)
    error = await refusal(identity, etag=seen.etag, max_active_keys=1)
    assert error.code == "etag_mismatch"


async def test_changes_at_once_follow_each_other_and_each_is_whole(identity: Any) -> None:
    made = await asyncio.gather(
        *(update(identity, max_active_keys=n, max_services=n) for n in range(1, 9)),
    )
    assert sorted(settings.version for settings in made) == list(range(1, 9))
    assert await present(identity) == max(made, key=lambda settings: settings.version)
    for settings in made:
        assert settings.max_active_keys == settings.max_services


async def test_nobody_registers_while_registration_is_closed(identity: Any) -> None:
    request = pb.RegisterConsumerRequest(email=NEWCOMER, name="New")
    begun = await identity.stub.RegisterConsumer(request)
    merchant = await identity.register_merchant("mia@example.com")
    await update(identity, is_registration_open=False)
    refused = await identity.error_of(identity.stub.RegisterConsumer(request))
    assert refused.code == "registration_closed"
    # Nor does who has begun before.
    assert (await identity.error_of(identity.verify(begun, NEWCOMER))).code == "registration_closed"
    # The answer tells nobody whether an address has an account …
    known = pb.RegisterConsumerRequest(email="mia@example.com", name="Mia")
    assert (await identity.error_of(identity.stub.RegisterConsumer(known))).code == "registration_closed"
    # … and who has one may still become a consumer too, or sign in, and merchants are still invited.
    challenge = await identity.stub.RegisterConsumer(known, metadata=identity.acting(merchant))
    assert CONSUMER in (await identity.verify(challenge, "mia@example.com")).user.roles
    await identity.register_merchant("otto@example.com", "Words & Co")
    await update(identity, is_registration_open=True)
    await identity.register_consumer(NEWCOMER)


async def test_only_addresses_of_allowed_domains_register(identity: Any) -> None:
    await update(identity, allowed_mail_domains=["example.com"])
    await identity.register_consumer("a@example.com")
    await identity.register_consumer("a@eu.example.com")
    for email in ("a@example.org", "a@badexample.com", "a@example.com.evil.org"):
        request = pb.RegisterConsumerRequest(email=email, name="A")
        error = await identity.error_of(identity.stub.RegisterConsumer(request))
        assert error.code == "mail_domain_not_allowed"


LABELS = st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True)


@given(st.lists(LABELS, min_size=2, max_size=4), st.lists(LABELS, max_size=2))
def test_a_domain_allows_itself_and_what_is_below_it(domain: list[str], below: list[str]) -> None:
    settings = settings_pb.PlatformSettings(
        is_registration_open=True, allowed_mail_domains=[".".join(domain)]
    )
    require_admissible(settings, f"a@{'.'.join([*below, *domain])}")
    with pytest.raises(FailedPreconditionError):
        require_admissible(settings, f"a@x{'.'.join(domain)}")


async def test_audit_records_are_kept_for_as_long_as_is_set(identity: Any, rebuild_audit_log: Any) -> None:
    database = identity.servicer.database
    records = [AuditRecord(audit_id=str(uuid7()), actor="system") for _ in range(2)]
    async with database.change_by_system("test", audited=False) as change:
        await AuditStore(change.connection).add(records)
    await rebuild_audit_log(stored_at=identity.clock() - timedelta(days=300))
    await purge_audit_log(database, identity.clock)
    assert (await verify(database)).count == 2
    await update(identity, audit_retention_days=299)
    await purge_audit_log(database, identity.clock)
    verified = await verify(database)
    assert (verified.count, verified.problems) == (0, [])
