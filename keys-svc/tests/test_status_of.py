from datetime import UTC, datetime, timedelta

from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_DISABLED, KEY_EXPIRED, KEY_REVOKED
from ams_common.ids import uuid7
from hypothesis import given
from hypothesis import strategies as st
from keys_svc.keys import Key, expiry, status_of

MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
TTLS = st.integers(1, 365)


def key(
    created_at: datetime,
    ttl_days: int,
    revoked_at: datetime | None = None,
    disabled_at: datetime | None = None,
) -> Key:
    return Key(
        key_id=uuid7(),
        key_hash=bytes(32),
        key_prefix="ams_live_00000000",
        consumer_id=uuid7(),
        created_by=uuid7(),
        name="",
        description="",
        ttl_days=ttl_days,
        created_at=created_at,
        expires_at=expiry(created_at, ttl_days),
        revoked_at=revoked_at,
        disabled_at=disabled_at,
        services=[],
    )


@given(MOMENTS, TTLS, MOMENTS)
def test_a_key_is_active_until_the_moment_it_expires(
    created_at: datetime, ttl_days: int, now: datetime
) -> None:
    ends_at = created_at + timedelta(days=ttl_days)
    assert status_of(key(created_at, ttl_days), now) == (KEY_ACTIVE if now < ends_at else KEY_EXPIRED)


@given(MOMENTS, TTLS)
def test_the_last_microsecond_counts(created_at: datetime, ttl_days: int) -> None:
    made = key(created_at, ttl_days)
    assert status_of(made, made.expires_at - timedelta(microseconds=1)) == KEY_ACTIVE
    assert status_of(made, made.expires_at) == KEY_EXPIRED


@given(MOMENTS, TTLS, MOMENTS, MOMENTS)
def test_revoked_is_for_good(
    created_at: datetime, ttl_days: int, revoked_at: datetime, now: datetime
) -> None:
    assert status_of(key(created_at, ttl_days, revoked_at), now) == KEY_REVOKED


@given(MOMENTS, TTLS, MOMENTS, MOMENTS)
def test_disabled_is_less_than_expired_and_less_than_revoked(
    created_at: datetime, ttl_days: int, disabled_at: datetime, now: datetime
) -> None:
    disabled = key(created_at, ttl_days, disabled_at=disabled_at)
    assert status_of(disabled, now) == (KEY_DISABLED if now < disabled.expires_at else KEY_EXPIRED)
    revoked = key(created_at, ttl_days, revoked_at=now, disabled_at=disabled_at)
    assert status_of(revoked, now) == KEY_REVOKED
