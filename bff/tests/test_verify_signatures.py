"""The snippet that merchants are given takes what AMS signs, and nothing else (RFC 9421)."""

import base64
import hmac
import importlib.util
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import ams_bff
import pytest
from ams_bff.ui.samples import verification_samples
from hypothesis import given
from hypothesis import strategies as st

SNIPPET = Path(ams_bff.__file__).parents[2] / "docs/verify_signature.py"
KEY_ID, SECRET = "0199aa00-0000-7000-8000-000000000001", bytes(range(32))
COVERED = ("@method", "@path", "@query", "x-request-id")


def loaded(text: str) -> ModuleType:
    """The snippet as a merchant's program has it."""
    spec = importlib.util.spec_from_loader("verify_signature", loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    exec(compile(text, "verify_signature.py", "exec"), module.__dict__)
    return module


@pytest.fixture(scope="module")
def snippet() -> ModuleType:
    """As the page with the new key shows it."""
    [(_, text)] = verification_samples(KEY_ID, base64.b64encode(SECRET).decode())
    return loaded(text)


def signed(
    method: str = "POST",
    path: str = "/v1/items",
    query: str | None = "a=b&c=%20",
    request_id: str = "r-1",
    created: int | None = None,
    secret: bytes = SECRET,
    key_id: str = KEY_ID,
) -> dict[str, str]:
    """The header fields of a call, signed by RFC 9421's sections 2.3, 2.5 and 3.3.3."""
    created = int(time.time()) if created is None else created
    values = {
        "@method": method,
        "@path": path,
        # 2.2.7: with its question mark, which stands alone where there is no query.
        "@query": f"?{query or ''}",
        "x-request-id": request_id,
    }
    inner_list = " ".join(f'"{component}"' for component in COVERED)
    parameters = f'({inner_list});created={created};keyid="{key_id}";alg="hmac-sha256"'
    lines = [f'"{component}": {values[component]}' for component in COVERED]
    base = "\n".join([*lines, f'"@signature-params": {parameters}'])
    mac = hmac.new(secret, base.encode("ascii"), "sha256").digest()
    return {
        "x-request-id": request_id,
        "signature-input": f"ams={parameters}",
        "signature": f"ams=:{base64.b64encode(mac).decode()}:",
    }


def test_docs_show_the_file_that_the_page_shows() -> None:
    [(_, text)] = verification_samples("KEY_ID", "SECRET")
    assert SNIPPET.read_text() == text


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("/v1/items", "a=b&c=%20", "/v1/items?a=b&c=%20"),
        ("/", None, "/"),
        ("/v1/items", "", "/v1/items?"),
        ("/a%2Fb", "x=?y", "/a%2Fb?x=?y"),
    ],
)
def test_what_ams_signed_is_taken(snippet: ModuleType, path: str, query: str | None, target: str) -> None:
    assert snippet.is_from_ams("POST", target, signed(path=path, query=query))


def test_a_key_before_is_taken_as_long_as_it_is_listed(snippet: ModuleType) -> None:
    module = loaded(SNIPPET.read_text())
    before = base64.b64encode(b"b" * 32).decode()
    module.__dict__["SECRETS"] = {KEY_ID: base64.b64encode(SECRET).decode(), "before": before}
    assert module.is_from_ams("POST", "/v1/items?a=b&c=%20", signed())
    assert module.is_from_ams("POST", "/v1/items?a=b&c=%20", signed(secret=b"b" * 32, key_id="before"))
    assert not snippet.is_from_ams("POST", "/v1/items?a=b&c=%20", signed(secret=b"b" * 32, key_id="before"))


@pytest.mark.parametrize(
    ("method", "target", "request_id"),
    [
        ("GET", "/v1/items?a=b&c=%20", "r-1"),
        ("POST", "/v1/item?a=b&c=%20", "r-1"),
        ("POST", "/v1/items?a=b", "r-1"),
        ("POST", "/v1/items", "r-1"),
        ("POST", "/v1/items?a=b&c=%20", "r-2"),
    ],
)
def test_a_signature_is_good_for_its_own_call_only(
    snippet: ModuleType, method: str, target: str, request_id: str
) -> None:
    assert not snippet.is_from_ams(method, target, signed() | {"x-request-id": request_id})


@pytest.mark.parametrize("age_s", [301, 86_400, -301])
def test_an_old_signature_is_not_taken_again(snippet: ModuleType, age_s: int) -> None:
    headers = signed(created=int(time.time()) - age_s - (1 if age_s > 0 else -5))
    assert not snippet.is_from_ams("POST", "/v1/items?a=b&c=%20", headers)


def test_another_secret_proves_nothing(snippet: ModuleType) -> None:
    assert not snippet.is_from_ams("POST", "/v1/items?a=b&c=%20", signed(secret=b"x" * 32))


@pytest.mark.parametrize("missing", ["signature", "signature-input", "x-request-id"])
def test_a_call_without_a_part_of_it_is_not_signed(snippet: ModuleType, missing: str) -> None:
    headers = {name: value for name, value in signed().items() if name != missing}
    assert not snippet.is_from_ams("POST", "/v1/items?a=b&c=%20", headers)


def test_a_signature_that_covers_less_is_not_taken(snippet: ModuleType) -> None:
    headers = signed()
    headers["signature-input"] = headers["signature-input"].replace(' "@query"', "")
    assert not snippet.is_from_ams("POST", "/v1/items?a=b&c=%20", headers)


@given(st.dictionaries(st.sampled_from(["signature", "signature-input", "x-request-id"]), st.text()))
def test_whatever_a_stranger_sends_is_refused_and_breaks_nothing(
    snippet: ModuleType, headers: Mapping[str, str]
) -> None:
    assert not snippet.is_from_ams("POST", "/v1/items", headers)
