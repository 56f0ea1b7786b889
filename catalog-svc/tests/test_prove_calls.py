"""SetUpstreamCredential and RotateSigningKey: what proves to an API that a call came through AMS."""

from base64 import b64decode
from datetime import timedelta
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
from ams_common.clock import from_timestamp, to_timestamp
from ams_common.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from catalog_svc.price_starts import write_due_snapshots
from catalog_svc.testing import SEALER, Catalog, MovingClock

VALUE = "Bearer s3cret-of-the-upstream"


def _credential(
    service_id: str, header_name: str = "Authorization", value: str = VALUE
) -> pb.SetUpstreamCredentialRequest:
    return pb.SetUpstreamCredentialRequest(service_id=service_id, header_name=header_name, value=value)


def _rotation(service_id: str, **fields: Any) -> pb.RotateSigningKeyRequest:
    return pb.RotateSigningKeyRequest(service_id=service_id, **fields)


def _use(service_id: str) -> pb.UseSigningKeyRequest:
    return pb.UseSigningKeyRequest(service_id=service_id)


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
        await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id, at_once=True))
        for _ in range(3)
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


async def _sealed(catalog: Catalog) -> list[bytes]:
    """The sealed secrets that are kept of the only service."""
    [row] = await catalog.rows("SELECT * FROM services")
    return [value for name, value in row.items() if "sealed" in name and value is not None]


async def test_the_secret_of_a_key_that_never_signs_again_is_gone(
    catalog: Catalog, clock: MovingClock
) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    for _ in range(2):
        await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id, at_once=True))
    assert len(await _sealed(catalog)) == 1
    # Nor does one that another takes the place of before it has begun, or one whose successor has begun.
    for _ in range(2):
        rotated = await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id))
        assert len(await _sealed(catalog)) == 2
    clock.advance(timedelta(days=1))
    await write_due_snapshots(catalog.database, clock)
    [kept] = await _sealed(catalog)
    assert SEALER.unseal(kept) == b64decode(rotated.secret)


async def test_the_next_key_begins_a_day_later_by_itself_and_once(
    catalog: Catalog, clock: MovingClock
) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    # Nothing was checked before the first: it signs at once.
    first = await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id))
    assert not first.signing_key.HasField("starts_at")
    second = await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id))
    begins = from_timestamp(second.signing_key.starts_at)
    assert timedelta(hours=23) < begins - clock() <= timedelta(days=1)
    assert list(second.service.signing_keys) == [second.signing_key, first.signing_key]
    held = (await catalog.snapshots(service.slug))[-1]
    assert held.signing_key.signing_key_id == first.signing_key.signing_key_id
    assert held.next_signing_key.signing_key_id == second.signing_key.signing_key_id
    assert SEALER.unseal(held.next_signing_key.sealed_secret) == b64decode(second.secret)
    assert held.next_signing_key.starts_at == second.signing_key.starts_at

    await write_due_snapshots(catalog.database, clock)
    assert (await catalog.snapshots(service.slug))[-1] == held
    clock.advance(begins - clock())
    # Whatever the loop does: which key signs is a matter of time.
    read = await merchant.call(catalog.stub.GetService, pb.GetServiceRequest(service_id=service.service_id))
    assert [each.signing_key_id for each in read.signing_keys] == [
        each.signing_key.signing_key_id for each in (second, first)
    ]
    assert not any(each.HasField("starts_at") for each in read.signing_keys)
    for _ in range(2):
        await write_due_snapshots(catalog.database, clock)
    now_held = (await catalog.snapshots(service.slug))[-1]
    assert now_held.version > held.version
    assert now_held.signing_key.signing_key_id == second.signing_key.signing_key_id
    assert now_held.next_signing_key == SealedSigningKey()
    assert len(await catalog.snapshots(service.slug)) == 4


async def test_a_leaked_key_is_followed_at_once_and_the_one_to_come_is_dropped(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    first, dropped = [
        await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id)) for _ in range(2)
    ]
    new = await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id, at_once=True))
    assert list(new.service.signing_keys) == [new.signing_key, first.signing_key]
    held = (await catalog.snapshots(service.slug))[-1]
    assert held.signing_key.signing_key_id == new.signing_key.signing_key_id
    assert held.next_signing_key == SealedSigningKey()
    # Nothing is relayed here, so it says by when nobody signs with the leaked one.
    assert new.service.HasField("effective_by")
    assert not dropped.service.HasField("effective_by")


async def test_the_next_key_is_used_before_its_time_when_its_merchant_says_so(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await catalog.publish(merchant)
    with_none = await merchant.error(catalog.stub.UseSigningKey, _use(service.service_id))
    assert isinstance(with_none, FailedPreconditionError)
    assert with_none.code == "no_next_signing_key"
    first, second = [
        await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id)) for _ in range(2)
    ]
    used = await merchant.call(catalog.stub.UseSigningKey, _use(service.service_id))
    assert [each.signing_key_id for each in used.signing_keys] == [
        each.signing_key.signing_key_id for each in (second, first)
    ]
    held = (await catalog.snapshots(service.slug))[-1]
    assert SEALER.unseal(held.signing_key.sealed_secret) == b64decode(second.secret)
    assert held.next_signing_key == SealedSigningKey()
    assert (await merchant.error(catalog.stub.UseSigningKey, _use(service.service_id))).code == with_none.code
    records = [AuditRecord.FromString(payload) for payload in await catalog.outbox("audit.events")]
    assert (records[-1].action, dict(records[-1].details)) == (
        "service.use_signing_key",
        {"signing_key_id": second.signing_key.signing_key_id},
    )


async def test_a_start_lies_ahead_by_a_month_at_most(catalog: Catalog, clock: MovingClock) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant)
    await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id))
    before = await catalog.state()
    for ahead, more in (
        (timedelta(), {}),
        (-timedelta(days=1), {}),
        (timedelta(days=31), {}),
        (timedelta(days=1), {"at_once": True}),
    ):
        starts_at = to_timestamp(clock() + ahead)
        error = await merchant.error(
            catalog.stub.RotateSigningKey, _rotation(service.service_id, starts_at=starts_at, **more)
        )
        assert isinstance(error, InvalidArgumentError)
        assert error.code == "signing_key_start_invalid"
        assert [violation.field for violation in error.violations] == ["startsAt"]
    assert await catalog.state() == before
    starts_at = to_timestamp(clock() + timedelta(days=30))
    rotated = await merchant.call(
        catalog.stub.RotateSigningKey, _rotation(service.service_id, starts_at=starts_at)
    )
    assert rotated.signing_key.starts_at == starts_at


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
    rotated = await merchant.call(catalog.stub.RotateSigningKey, _rotation(service.service_id, at_once=True))
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
        (
            "service.rotate_signing_key",
            {
                "signing_key_id": rotated.signing_key.signing_key_id,
                "starts_at": from_timestamp(rotated.signing_key.created_at).isoformat(timespec="seconds"),
            },
        ),
    ]


async def test_an_image_is_not_called_and_needs_no_proof(catalog: Catalog) -> None:
    merchant = catalog.merchant()
    service = await catalog.create(merchant, type=DOCKER, base_url="")
    before = await catalog.state()
    errors = [
        await merchant.error(catalog.stub.SetUpstreamCredential, _credential(service.service_id)),
        await merchant.error(catalog.stub.RotateSigningKey, _rotation(service.service_id)),
        await merchant.error(catalog.stub.UseSigningKey, _use(service.service_id)),
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
        (catalog.stub.UseSigningKey, _use),
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
