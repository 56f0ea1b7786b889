"""A merchant can tell a call of AMS from anybody's, with a library that we didn't write."""

import hashlib
import hmac
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from ams_gateway.http.signatures import Signer
from http_message_signatures import (
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
    VerifyResult,
    algorithms,
)
from hypothesis import given
from hypothesis import strategies as st

KEY_ID = "0197b2a0-0000-7000-8000-000000000001"
SECRET = bytes(range(32))


class Secrets(HTTPSignatureKeyResolver):
    def resolve_public_key(self, key_id: str) -> bytes:
        return {KEY_ID: SECRET}[key_id]


def signed(
    signer: Signer,
    method: bytes = b"POST",
    path: bytes = b"/v1/items",
    query: bytes = b"a=1&b=%20",
    request_id: bytes = b"a1b2-3",
    age_s: int = 0,
) -> SimpleNamespace:
    """A call as the merchant receives it."""
    created = datetime.now(UTC) - timedelta(seconds=age_s)
    signature_input, signature = signer.sign(
        method=method, path=path, query=query, request_id=request_id, created_s=int(created.timestamp())
    )
    headers = {
        "Host": "merchant.example",
        "X-Request-Id": request_id.decode(),
        "Signature-Input": signature_input.decode(),
        "Signature": signature.decode(),
    }
    url = b"https://merchant.example" + path + (b"?" + query if query else b"")
    return SimpleNamespace(method=method.decode(), url=url.decode(), headers=headers)


def verify(call: SimpleNamespace) -> VerifyResult:
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=Secrets())
    [result] = verifier.verify(call, max_age=timedelta(seconds=300))
    return result


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PATCH"])
@pytest.mark.parametrize("path", [b"/", b"/v1/a%2Fb", b"/v1//x;p=1"])
@pytest.mark.parametrize("query", [b"", b"a=1&b=%20"])
def test_a_call_proves_that_it_came_through_ams(method: bytes, path: bytes, query: bytes) -> None:
    result = verify(signed(Signer(KEY_ID, SECRET), method, path, query))
    assert result.label == "ams"
    assert result.parameters["keyid"] == KEY_ID
    assert result.parameters["alg"] == "hmac-sha256"
    assert [component.strip('"') for component in result.covered_components if "params" not in component] == [
        "@method",
        "@path",
        "@query",
        "x-request-id",
    ]


def test_nothing_that_is_covered_can_be_changed() -> None:
    signer = Signer(KEY_ID, SECRET)
    changes: list[dict[str, str]] = [
        {"method": "DELETE"},
        {"url": "https://merchant.example/v1/other?a=1&b=%20"},
        {"url": "https://merchant.example/v1/items?a=2&b=%20"},
        {"url": "https://merchant.example/v1/items"},
    ]
    for change in changes:
        with pytest.raises(InvalidSignature):
            verify(SimpleNamespace(**(vars(signed(signer)) | change)))
    call = signed(signer)
    call.headers["X-Request-Id"] = "a1b2-4"
    with pytest.raises(InvalidSignature):
        verify(call)


def test_neither_an_old_call_nor_one_with_another_key_is_taken() -> None:
    with pytest.raises(InvalidSignature):
        verify(signed(Signer(KEY_ID, SECRET), age_s=400))
    with pytest.raises(InvalidSignature):
        verify(signed(Signer(KEY_ID, SECRET[::-1])))


def test_calls_of_different_seconds_are_each_signed_for_theirs() -> None:
    signer = Signer(KEY_ID, SECRET)
    for age_s in (10, 10, 0, 5):
        verify(signed(signer, age_s=age_s))


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_the_code_is_the_hmac_of_the_standard_library(secret: bytes, query: bytes) -> None:
    signature_input, signature = Signer(KEY_ID, secret).sign(
        method=b"GET", path=b"/", query=query, request_id=b"r", created_s=1
    )
    base = (
        b'"@method": GET\n"@path": /\n"@query": ?' + query + b'\n"x-request-id": r\n"@signature-params": '
    ) + signature_input.removeprefix(b"ams=")
    code = b64decode(signature.removeprefix(b"ams=:").removesuffix(b":"))
    assert code == hmac.digest(secret, base, hashlib.sha256)
