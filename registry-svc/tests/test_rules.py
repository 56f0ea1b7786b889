"""The rules that need no server: names, manifests, access, tokens."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ams.catalog.v1.events_pb2 import ACTIVE, API, DOCKER, DRAFT, SERVICE_SUSPENDED, ServiceSnapshot
from ams.identity.v1.events_pb2 import (
    STANDING_ACTIVE,
    STANDING_BLOCKED,
    STANDING_SUSPENDED,
    STANDING_UNSPECIFIED,
)
from ams.keys.v1.events_pb2 import KEY_ACTIVE, KEY_REVOKED, KeySnapshot
from ams.registry.v1 import registry_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.errors import FailedPreconditionError, SettingsError
from ams_common.ids import uuid7
from ams_common.settings import load
from hypothesis import given
from hypothesis import strategies as st
from registry_svc import names
from registry_svc.auth import push_tokens, rules
from registry_svc.auth.access_tokens import (
    ACTIONS,
    AccessTokenError,
    AccessTokens,
    Grant,
    Scope,
    parse_scopes,
)
from registry_svc.images import manifests
from registry_svc.images.manifests import ManifestError
from registry_svc.settings import Settings
from registry_svc.storage.rows import PushToken

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SERVICE_ID = uuid7()
OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DIGEST = names.digest_of(b"x")


@pytest.mark.parametrize("tag", ["0.0.0", "1.4.0", "10.20.30", "1.0.0-rc.1", "1.0.0-alpha-2"])
def test_semantic_versions_may_be_pushed(tag: str) -> None:
    manifests.check_tag(tag)


@pytest.mark.parametrize(
    "tag", ["latest", "1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0.0", ""]
)
def test_other_tags_are_refused_by_name(tag: str) -> None:
    with pytest.raises(ManifestError) as refused:
        manifests.check_tag(tag)
    assert f'"{tag}"' in refused.value.message


@pytest.mark.parametrize("name", ["a/b", "acme/scanner", "acme-1/scan-ner/tool"])
def test_names_have_two_or_three_slugs(name: str) -> None:
    assert names.is_name(name)


@given(st.text(alphabet="aA0-_./% \n:é", max_size=12))
def test_whatever_is_taken_for_a_name_is_nothing_but_slugs(text: str) -> None:
    if names.is_name(text):
        assert ".." not in text and text == text.lower().strip()
        assert 2 <= len(text.split("/")) <= 3 and all(text.split("/"))


def manifest(**changes: Any) -> dict[str, Any]:
    part = {"mediaType": "any", "digest": DIGEST, "size": 10}
    return {"schemaVersion": 2, "mediaType": OCI, "config": part, "layers": [part, part], **changes}


def check(document: Any, media_type: str = OCI) -> manifests.Manifest:
    return manifests.check_manifest(media_type, json.dumps(document).encode())


def test_a_good_manifest_tells_its_size_digest_and_licence() -> None:
    body = json.dumps(manifest(annotations={manifests.LICENSE_ANNOTATION: "time_limited"})).encode()
    checked = manifests.check_manifest(OCI, body)
    assert checked.size_bytes == len(body) + 30
    assert (checked.digest, checked.license_model) == (names.digest_of(body), "time_limited")
    assert check(manifest()).license_model == "connected"


def test_an_index_names_its_platforms() -> None:
    index = {"schemaVersion": 2, "manifests": [{"digest": DIGEST, "size": 1}]}
    checked = check(index, INDEX)
    assert (checked.child_digests, checked.size_bytes) == ((DIGEST,), 0)


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ([], OCI),
        ({}, OCI),
        (manifest(schemaVersion=1), OCI),
        (manifest(mediaType=INDEX), OCI),
        (manifest(), "application/json"),
        (manifest(), ""),
        (manifest(config=None), OCI),
        (manifest(layers="x"), OCI),
        (manifest(layers=[{"digest": DIGEST, "size": 1}] * 513), OCI),
        (manifest(layers=[{"digest": "sha256:x", "size": 1}]), OCI),
        (manifest(layers=[{"digest": DIGEST, "size": -1}]), OCI),
        (manifest(layers=[{"digest": DIGEST, "size": True}]), OCI),
        (manifest(layers=[{"digest": DIGEST, "size": 1e3}]), OCI),
        (manifest(layers=[{"digest": DIGEST, "size": 1, "urls": ["http://10.0.0.1/"]}]), OCI),
        (manifest(annotations={manifests.LICENSE_ANNOTATION: "for free"}), OCI),
        (manifest(annotations=[1]), OCI),
    ],
)
def test_bad_manifests_are_refused(document: Any, media_type: str) -> None:
    with pytest.raises(ManifestError):
        check(document, media_type)


@given(st.binary(max_size=200))
def test_no_body_is_more_than_refused(body: bytes) -> None:
    with pytest.raises(ManifestError):
        manifests.check_manifest(OCI, body)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"schemaVersion": st.just(2), "config": JSON_VALUES, "layers": JSON_VALUES}))
def test_no_json_is_more_than_refused(document: Any) -> None:
    with pytest.raises(ManifestError):
        check(document)


def token(**changes: Any) -> PushToken:
    usual = PushToken(
        push_token_id=uuid7(),
        token_prefix="ams_push_12345678",
        service_id=SERVICE_ID,
        merchant_id=uuid7(),
        name="ci",
        repository="acme/scanner",
        created_at=NOW,
        expires_at=NOW + timedelta(hours=1),
    )
    return replace(usual, **changes)


def service(**changes: Any) -> ServiceSnapshot:
    usual: dict[str, Any] = {
        "service_id": str(SERVICE_ID),
        "type": DOCKER,
        "status": ACTIVE,
        "merchant_standing": STANDING_ACTIVE,
    }
    return ServiceSnapshot(**{**usual, **changes})


def key(**changes: Any) -> KeySnapshot:
    usual: dict[str, Any] = {
        "service_ids": [str(SERVICE_ID)],
        "status": KEY_ACTIVE,
        "expires_at": to_timestamp(NOW + timedelta(hours=1)),
        "consumer_standing": STANDING_ACTIVE,
    }
    return KeySnapshot(**{**usual, **changes})


def test_a_push_token_is_good_until_its_end_or_revocation() -> None:
    assert rules.token_denial(token(), NOW) is None
    assert "expired" in (rules.token_denial(token(), NOW + timedelta(hours=1)) or "")
    revoked = token(revoked_at=NOW)
    assert "revoked" in (rules.token_denial(revoked, NOW + timedelta(hours=2)) or "")
    assert push_tokens.status_of(revoked, NOW) == pb.PUSH_TOKEN_REVOKED


def test_a_push_token_opens_its_repository_and_what_is_below() -> None:
    for name in ("acme/scanner", "acme/scanner/tool"):
        assert rules.push_denial(token(), name, service(status=DRAFT)) is None
    for name in ("acme/scanner2", "acme/other", "acme/scanner-x/tool", "other/scanner"):
        assert rules.push_denial(token(), name, service()) is not None


@pytest.mark.parametrize(
    "unfit",
    [
        None,
        service(type=API),
        service(status=SERVICE_SUSPENDED),
        service(merchant_standing=STANDING_SUSPENDED),
        service(merchant_standing=STANDING_BLOCKED),
    ],
)
def test_nothing_is_pushed_to_what_takes_no_images(unfit: ServiceSnapshot | None) -> None:
    assert rules.push_denial(token(), "acme/scanner", unfit) is not None


@pytest.mark.parametrize(
    "unfit",
    [key(status=KEY_REVOKED), key(expires_at=to_timestamp(NOW)), key(consumer_standing=STANDING_BLOCKED)],
)
def test_a_key_that_the_gateway_would_refuse_opens_nothing(unfit: KeySnapshot) -> None:
    assert rules.key_denial(key(), "", NOW) is None
    assert rules.key_denial(unfit, "", NOW) is not None


def test_a_key_is_used_from_its_networks_only() -> None:
    bound = key(allowed_networks=["192.0.2.0/24", "2001:db8::/32"])
    for address in ("192.0.2.9", "2001:db8::9"):
        assert rules.key_denial(bound, address, NOW) is None
    for address in ("192.0.3.9", "2001:db9::9", ""):
        assert "this network" in (rules.key_denial(bound, address, NOW) or "")


def test_a_key_is_first_said_to_be_revoked_then_expired_then_blocked() -> None:
    """As the gateway says it: what is for good comes before what time or an admin does."""
    expired = {"expires_at": to_timestamp(NOW), "consumer_standing": STANDING_BLOCKED}
    assert "revoked" in (rules.key_denial(key(status=KEY_REVOKED, **expired), "", NOW) or "")
    assert "expired" in (rules.key_denial(key(**expired), "", NOW) or "")
    assert "blocked" in (rules.key_denial(key(consumer_standing=STANDING_BLOCKED), "", NOW) or "")


@pytest.mark.parametrize(
    "unfit",
    [
        None,
        service(status=DRAFT),
        service(status=SERVICE_SUSPENDED),
        service(merchant_standing=STANDING_UNSPECIFIED),
        service(merchant_standing=STANDING_SUSPENDED),
    ],
)
def test_only_an_active_service_of_a_merchant_in_good_standing_is_pulled(
    unfit: ServiceSnapshot | None,
) -> None:
    assert rules.pull_denial(key(), "acme/scanner", SERVICE_ID, service()) is None
    assert rules.pull_denial(key(), "acme/scanner", SERVICE_ID, unfit) is not None


def test_without_a_grant_an_image_looks_like_none() -> None:
    denial = rules.pull_denial(key(), "acme/scanner", uuid7(), service())
    assert denial == rules.no_access("acme/scanner")


def test_scopes_are_read_as_docker_writes_them() -> None:
    asked = ["repository:acme/a:pull,push repository:acme/b:pull", "repository:acme/a:delete"]
    assert parse_scopes(asked) == [
        Scope("acme/a", frozenset(ACTIONS)),
        Scope("acme/b", frozenset({"pull"})),
    ]
    assert parse_scopes(["repository:acme/a:*"]) == [Scope("acme/a", frozenset(ACTIONS))]
    hostile = [
        "registry:catalog:*",
        "repository:../x:pull",
        "repository:A/b:pull",
        "repository:a/b",
        "",
        "x" * 99,
    ]
    assert parse_scopes(hostile) == []
    assert len(parse_scopes([f"repository:a/b{number}:pull" for number in range(100)])) == 20


def test_access_tokens_are_read_only_while_they_are_good_and_by_who_signed_them() -> None:
    ours = AccessTokens(b"1" * 32, "registry.example")
    now = datetime.now(UTC)
    grant = Grant("acme/a", frozenset({"pull"}), "no push")
    read = ours.read(ours.sign("push:1", [grant], now))
    assert (read.credential, read.grants) == ("push:1", (grant,))
    assert read.allows("acme/a", "pull") and not read.allows("acme/a", "push")
    assert not read.allows("acme/b", "pull")
    for signer, when in (
        (ours, now - timedelta(minutes=6)),
        (AccessTokens(b"2" * 32, "registry.example"), now),
        (AccessTokens(b"1" * 32, "other.example"), now),
    ):
        with pytest.raises(AccessTokenError):
            ours.read(signer.sign("push:1", [grant], when))
    for text in ("", "x", "a.b.c"):
        with pytest.raises(AccessTokenError):
            ours.read(text)


def test_push_tokens_are_known_by_their_form_and_hash() -> None:
    new = push_tokens.generate()
    assert push_tokens.hash_token(new.secret) == new.sha256
    assert new.secret not in repr(new)
    assert new.secret.startswith(new.prefix)
    for text in ("", new.secret[:-1], new.secret + "0", new.secret[:-1] + "é", new.secret + "\n"):
        assert push_tokens.hash_token(text) is None


def test_a_service_has_fifty_active_tokens_at_most() -> None:
    push_tokens.require_below_limit(49)
    with pytest.raises(FailedPreconditionError):
        push_tokens.require_below_limit(50)


def test_settings_that_will_not_do_are_named() -> None:
    good = {
        "REGISTRY_DATABASE_URL": "postgresql://x",
        "REGISTRY_LISTEN": "127.0.0.1:1",
        "IDENTITY_ADDRESS": "x:1",
        "CATALOG_ADDRESS": "x:1",
        "KEYS_ADDRESS": "x:1",
        "KAFKA_BOOTSTRAP_SERVERS": "x:1",
    }
    settings = load(Settings, "REGISTRY", good)
    assert (settings.host, len(settings.signing_seed)) == ("127.0.0.1:5050", 32)
    bad = {
        "REGISTRY_SIGNING_KEY": "short",
        "REGISTRY_PROVIDER": "elsewhere",
        "REGISTRY_HTTP_LISTEN": "here",
    }
    with pytest.raises(SettingsError) as refused:
        load(Settings, "REGISTRY", good | bad)
    assert [problem.split()[0] for problem in refused.value.problems] == [
        "REGISTRY_PROVIDER",
        "REGISTRY_SIGNING_KEY",
        "REGISTRY_HTTP_LISTEN",
    ]
