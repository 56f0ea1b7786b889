"""SetUpstreamCredential and RotateSigningKey: what proves to an API that a call came through AMS."""

from base64 import b64decode
from typing import Any

import pytest
from ams.audit.v1.events_pb2 import AuditRecord
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import DOCKER
from ams.catalog.v1.forwarding_pb2 import (
    BASIC,
    BEARER,
    HEADER,
    CredentialKind,
    SealedCredential,
    SealedSigningKey,
    UpstreamCredential,
)
from ams_common.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from catalog_svc.testing import SEALER, Catalog

VALUE = "Bearer s3cret-of-the-upstream"


def _credential(
    service_id: str, header_name: str = "Authorization", value: str = VALUE
) -> pb.SetUpstreamCredentialRequest:
    return pb.SetUpstreamCredentialRequest(service_id=service_id, header_name=header_name, value=value)


def _rotation(service_id: str) -> pb.RotateSigningKeyRequest:
    return pb.RotateSigningKeyRequest(service_id=service_id)


async def _everything(catalog: Catalog) -> bytes:
    """All that the database holds of the service, and all that goes out."""
    return repr(await catalog.state()).encode()


async def test_the_gateway_gets_the_credential_sealed_and_nobody_else_gets_it(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    changed = await merchant.call(catalog.stub.SetUpstreamCredential, _credential(service.service_id))
    assert changed.upstream_credential.header_name == "Authorization"
    assert changed.upstream_credential.HasField("set_at")
    sealed = (await catalog.snapshots(service.slug))[-1].credential
    assert sealed.header_name == "Authorization"
    assert SEALER.unseal(sealed.sealed_value) == VALUE.encode()
    assert await catalog.snapshots(service.service_id) == await catalog.snapshots(service.slug)
    assert b"s3cret" not in await _everything(catalog)
    for caller in (merchant, catalog.admin()):
        read = await caller.call(catalog.stub.GetService, pb.GetServiceRequest(service_id=service.service_id))
        assert read.upstream_credential == changed.upstream_credential
        assert b"s3cret" not in read.SerializeToString()


async def test_a_credential_is_replaced_and_taken_away(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    for name, value in (("Authorization", VALUE), ("X-Key", "another"), ("", "")):
        changed = await merchant.call(
            catalog.stub.SetUpstreamCredential, _credential(service.service_id, name, value)
        )
        assert changed.upstream_credential.header_name == name
    assert changed.upstream_credential == UpstreamCredential()
    written = [snapshot.credential.header_name for snapshot in await catalog.snapshots(service.slug)]
    assert written == ["", "Authorization", "X-Key", ""]
    assert (await catalog.snapshots(service.slug))[-1].credential == SealedCredential()
    assert [name for _, name, _, _ in (await catalog.audits())[-3:]] == [
        "service.set_upstream_credential"
    ] * 3


@pytest.mark.parametrize(
    ("header_name", "value", "field"),
    [
        ("Host", VALUE, "headerName"),
        ("X-Forwarded-For", VALUE, "headerName"),
        ("a b", VALUE, "headerName"),
        ("", VALUE, "headerName"),
        ("x" * 65, VALUE, "headerName"),
        ("X-Key", "", "value"),
        ("X-Key", "ä", "value"),
        ("X-Key", " padded", "value"),
        ("X-Key", "a\nb", "value"),
        ("X-Key", "a\tb", "value"),
        ("X-Key", "x" * 2001, "value"),
    ],
)
async def test_a_credential_that_cannot_be_sent_is_refused_without_telling_it(
    catalog: Catalog, header_name: str, value: str, field: str
) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    before = await catalog.state()
    request = _credential(service.service_id, header_name, value)
    error = await merchant.error(catalog.stub.SetUpstreamCredential, request)
    assert isinstance(error, InvalidArgumentError)
    assert [violation.field for violation in error.violations] == [field]
    assert not value or value not in error.message + repr(error.violations)
    assert await catalog.state() == before


async def test_calls_are_signed_with_the_newest_key_whose_secret_is_told_once(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    answers = [
        await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id)) for _ in range(3)
    ]
    secrets = [b64decode(answer.secret, validate=True) for answer in answers]
    assert len(set(secrets)) == 3
    assert {len(secret) for secret in secrets} == {32}
    signing = [snapshot.signing_key for snapshot in await catalog.snapshots(service.slug)]
    assert signing[0] == SealedSigningKey()
    for snapshot_key, answer, secret in zip(signing[1:], answers, secrets, strict=True):
        assert snapshot_key.signing_key_id == answer.signing_key.signing_key_id
        assert SEALER.unseal(snapshot_key.sealed_secret) == secret
    newest_first = [answer.signing_key for answer in reversed(answers)]
    assert list(answers[-1].service.signing_keys) == newest_first[:2]
    read = await merchant.call(catalog.stub.GetService, pb.GetServiceRequest(service_id=service.service_id))
    assert list(read.signing_keys) == newest_first[:2]
    told = read.SerializeToString() + await _everything(catalog)
    for answer, secret in zip(answers, secrets, strict=True):
        assert answer.secret.encode() not in told
        assert repr(secret)[2:-1].encode() not in told


async def test_the_secret_of_a_key_that_never_signs_again_is_gone(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    for _ in range(2):
        await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id))
    [row] = await catalog.rows("SELECT * FROM services")
    sealed = [value for name, value in row.items() if "sealed" in name and value is not None]
    assert len(sealed) == 1


async def test_a_draft_may_be_prepared_and_is_not_shown_to_the_gateway_by_it(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    await merchant.call(catalog.stub.SetUpstreamCredential, _credential(service.service_id))
    await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id))
    assert await catalog.snapshots(service.slug) == []


async def test_proofs_outlive_a_change_of_the_service_and_its_approval(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.create(merchant)
    await merchant.call(catalog.stub.SetUpstreamCredential, _credential(service.service_id))
    await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id))
    await merchant.call(catalog.stub.SubmitService, pb.SubmitServiceRequest(service_id=service.service_id))
    # Also while it waits for approval.
    rotated = await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id))
    await catalog.admin().call(
        catalog.stub.ApproveService, pb.ApproveServiceRequest(service_id=service.service_id)
    )
    [snapshot] = await catalog.snapshots(service.slug)
    assert SEALER.unseal(snapshot.credential.sealed_value) == VALUE.encode()
    assert snapshot.signing_key.signing_key_id == rotated.signing_key.signing_key_id


async def test_the_audit_log_names_header_and_key_but_no_secret(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    await merchant.call(catalog.stub.SetUpstreamCredential, _credential(service.service_id))
    rotated = await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id))
    records = [AuditRecord.FromString(payload) for payload in await catalog.outbox("audit.events")]
    assert [(record.action, dict(record.details)) for record in records[-2:]] == [
        ("service.set_upstream_credential", {"header_name": "Authorization"}),
        ("service.rotate_signing_key", {"signing_key_id": rotated.signing_key.signing_key_id}),
    ]


async def test_an_image_is_not_called_and_needs_no_proof(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant, type=DOCKER, base_url="")
    before = await catalog.state()
    errors = [
        await merchant.error(catalog.stub.SetUpstreamCredential, _credential(service.service_id)),
        await merchant.error(catalog.stub.RotateSigningKey, _rotation(service.service_id)),
    ]
    for error in errors:
        assert isinstance(error, FailedPreconditionError)
        assert error.code == "service_not_called"
    assert await catalog.state() == before


async def test_somebody_elses_service_is_given_no_proofs_and_looks_like_none(catalog: Catalog) -> None:
    service = await catalog.create(catalog.merchant())
    before = await catalog.state()
    outsider = catalog.merchant()
    for method, request_of in (
        (catalog.stub.SetUpstreamCredential, _credential),
        (catalog.stub.RotateSigningKey, _rotation),
    ):
        theirs = await outsider.error(method, request_of(service.service_id))
        missing = await outsider.error(method, request_of(str(uuid7())))
        assert isinstance(theirs, NotFoundError)
        assert (theirs.code, theirs.message) == (missing.code, missing.message)
        assert isinstance(await outsider.error(method, request_of("weather")), InvalidArgumentError)
    assert await catalog.state() == before


@pytest.mark.parametrize(
    ("kind", "fields", "header"),
    [
        (HEADER, {"header_name": "X-Key", "value": "s3cret"}, ("X-Key", b"s3cret")),
        (BEARER, {"value": "s3cret.token=="}, ("Authorization", b"Bearer s3cret.token==")),
        # RFC 7617's own examples; the second is in UTF-8.
        (
            *(BASIC, {"username": "Aladdin", "value": "open sesame"}),
            ("Authorization", b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ),
        (
            *(BASIC, {"username": "test", "value": "123\u00a3"}),
            ("Authorization", b"Basic dGVzdDoxMjPCow=="),
        ),
        (BASIC, {"username": "u", "value": "with:colon"}, ("Authorization", b"Basic dTp3aXRoOmNvbG9u")),
    ],
)
async def test_a_credential_of_each_kind_reaches_the_gateway_as_the_header_that_it_is(
    catalog: Catalog, kind: CredentialKind.ValueType, fields: dict[str, Any], header: tuple[str, bytes]
) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    request = pb.SetUpstreamCredentialRequest(service_id=service.service_id, kind=kind, **fields)
    changed = await merchant.call(catalog.stub.SetUpstreamCredential, request)
    assert (changed.upstream_credential.kind, changed.upstream_credential.header_name) == (kind, header[0])
    sealed = (await catalog.snapshots(service.slug))[-1].credential
    assert (sealed.header_name, SEALER.unseal(sealed.sealed_value)) == header


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        (BASIC, {"value": "x"}, "username"),
        (BASIC, {"username": "a:b", "value": "x"}, "username"),
        (BASIC, {"username": "a"}, "value"),
        (BASIC, {"username": "a", "value": "x", "header_name": "X-Key"}, "headerName"),
        (BEARER, {"value": "two words"}, "value"),
        (BEARER, {"value": "a=b"}, "value"),
        (BEARER, {"value": "ä"}, "value"),
        (BEARER, {}, "value"),
        (BEARER, {"value": "x", "username": "a"}, "username"),
        (BEARER, {"value": "x", "header_name": "X-Key"}, "headerName"),
        (HEADER, {"header_name": "X-Key", "value": "x", "username": "a"}, "username"),
    ],
)
async def test_a_credential_that_its_kind_cannot_be_is_refused_and_never_repeated(
    catalog: Catalog, kind: CredentialKind.ValueType, fields: dict[str, Any], field: str
) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    before = await catalog.state()
    request = pb.SetUpstreamCredentialRequest(service_id=service.service_id, kind=kind, **fields)
    error = await merchant.error(catalog.stub.SetUpstreamCredential, request)
    assert (error.code, error.violations[0].field) == ("credential_invalid", field)
    assert await catalog.state() == before
