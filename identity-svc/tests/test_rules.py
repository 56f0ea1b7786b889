import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

import pytest
from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams_common.tokens import ACCESS_TOKEN_TTL, SigningKey
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from identity_svc import challenges, invites, roles, signing
from identity_svc.accounts import base_slug, slug_candidates
from identity_svc.addresses import is_address, normalise_email
from identity_svc.mailer import backoff
from identity_svc.vault import Vault

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_codes_are_six_digits_with_their_leading_zeros() -> None:
    codes = {challenges.new_code() for _ in range(500)}
    assert all(re.fullmatch(r"[0-9]{6}", code) for code in codes)
    assert len(codes) > 450


@given(st.text(max_size=100))
def test_every_company_gets_a_slug(company_name: str) -> None:
    for slug in islice(slug_candidates(company_name), 15):
        assert re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", slug) and len(slug) <= 50
    assert len(set(islice(slug_candidates(company_name), 15))) == 15


@pytest.mark.parametrize(
    ("company_name", "slug"),
    [
        ("Geo Ltd.", "geo-ltd"),
        ("Überland & Söhne", "uberland-sohne"),
        ("東京", "merchant"),
        ("--", "merchant"),
    ],
)
def test_a_slug_names_the_company(company_name: str, slug: str) -> None:
    assert base_slug(company_name) == slug


@given(st.emails())
def test_normalising_an_address_twice_changes_nothing_more(email: str) -> None:
    once = normalise_email(email)
    assert normalise_email(once) == once
    assert once.lower() == email.lower()


@pytest.mark.parametrize(
    "text", ["", "a", "a@b", "a b@example.com", "a@example.com\n", "a@-x.com", "a@b@c.de"]
)
def test_what_is_no_address(text: str) -> None:
    assert not is_address(text)


def test_invite_codes_are_long_and_told_apart_however_typed() -> None:
    codes = {invites.new_code() for _ in range(100)}
    assert len({invites.code_hash(code) for code in codes}) == 100
    for code in codes:
        assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){4}[0-9A-HJKMNP-TV-Z]{4}", code)
        assert invites.code_hash(f" {code.lower().replace('1', 'l')} ") == invites.code_hash(code)


def test_a_code_is_known_only_for_its_challenge_and_with_the_key() -> None:
    vault, other = Vault([Fernet.generate_key().decode()]), Vault([Fernet.generate_key().decode()])
    one, two = UUID(int=1), UUID(int=2)
    hashes = {vault.code_hash(one, "123456"), vault.code_hash(two, "123456"), other.code_hash(one, "123456")}
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("held", "wanted", "active"),
    [
        ([MERCHANT, CONSUMER], CONSUMER, CONSUMER),
        ([MERCHANT, CONSUMER], Role.ROLE_UNSPECIFIED, MERCHANT),
        ([CONSUMER], ADMIN, CONSUMER),
        ([], ADMIN, Role.ROLE_UNSPECIFIED),
    ],
)
def test_only_a_role_that_is_held_is_active(
    held: list[Role.ValueType], wanted: Role.ValueType, active: Role.ValueType
) -> None:
    assert roles.active_role(held, wanted) == active


@given(st.lists(st.integers(0, 400), min_size=1, max_size=6, unique=True), st.integers(0, 3600))
def test_whatever_signed_a_living_token_is_published(days_ago: list[int], age_s: int) -> None:
    """Keys made at any times: one that signed within a token's life is still in the set."""
    private_key = Ed25519PrivateKey.generate()
    starts = [NOW - timedelta(days=days, seconds=age_s) for days in sorted(days_ago, reverse=True)]
    keys = [
        signing.DatedKey(SigningKey(str(number), private_key), start - signing.HEAD_START, start)
        for number, start in enumerate(starts)
    ]
    published = {dated.key.key_id for dated in keys if signing.is_published(keys, dated, NOW)}
    signed_at = NOW
    while signed_at > NOW - ACCESS_TOKEN_TTL:
        assert signing.signing_key(keys, signed_at).key_id in published
        signed_at -= timedelta(seconds=30)


def test_backoff_grows_to_five_minutes() -> None:
    waits = [backoff(attempts) for attempts in range(1, 40)]
    assert waits == sorted(waits) and waits[-1] == timedelta(minutes=5)
