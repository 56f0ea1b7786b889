import socket
from typing import Any

import pytest

JSON = {"Content-Type": "application/json"}


def test_an_unreachable_service_is_a_503_problem(bff: Any) -> None:
    answer = bff.ask("GET", "/api/v1/me")
    assert (answer.status, answer.code) == (503, "service_unavailable")


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/v1/openapi.json", "/api/v1/me", "/nope"])
def test_every_answer_has_the_security_headers(bff: Any, path: str) -> None:
    headers = bff.ask("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] in ("no-referrer", "same-origin")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-request-id"]
    for absent in ("strict-transport-security", "access-control-allow-origin", "server"):
        assert absent not in headers


def test_only_documents_for_everybody_may_be_cached(bff: Any) -> None:
    assert bff.ask("GET", "/api/v1/me").headers["cache-control"] == "no-store"
    assert bff.ask("GET", "/.well-known/jwks.json").headers["cache-control"] == "no-store"  # a problem
    assert bff.ask("GET", "/api/v1/openapi.json").headers["cache-control"] == "public, max-age=300"


def test_browsers_are_told_to_keep_to_https_where_that_is_the_public_address(start_bff: Any) -> None:
    bff = start_bff(BFF_PUBLIC_URL="https://ams.example")
    assert bff.ask("GET", "/").headers["strict-transport-security"] == "max-age=31536000"
    assert bff.ask("GET", "/api/v1/openapi.json").json["servers"] == [{"url": "https://ams.example"}]


def test_a_harmless_request_id_comes_back_and_another_is_replaced(bff: Any) -> None:
    def request_id(sent: str) -> Any:
        return bff.ask("GET", "/healthz", headers={"X-Request-Id": sent}).headers["x-request-id"]

    assert request_id("mine-1.2_3") == "mine-1.2_3"
    assert len(request_id("a b")) == len(request_id("x" * 65)) == 32


def test_pages_of_its_own(bff: Any) -> None:
    assert bff.ask("GET", "/healthz").json == {"status": "alive"}
    ready = bff.ask("GET", "/readyz")
    assert ready.status == 503
    assert ready.json["services"] == dict.fromkeys(
        ("identity", "catalog", "keys", "usage", "billing", "registry"), "unreachable"
    )
    assert "/api/v1/me" in bff.ask("GET", "/api/v1/openapi.json").json["paths"]


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/me", "/api/v1/openapi.json"])
def test_head_answers_as_get_without_a_body(bff: Any, path: str) -> None:
    got, head = bff.ask("GET", path), bff.ask("HEAD", path)
    assert (head.status, head.text) == (got.status, "")
    assert head.headers.get_content_type() == got.headers.get_content_type()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", "/healthz", "GET, HEAD"), ("PUT", "/api/v1/services/7", "GET, HEAD, PATCH")],
)
def test_another_method_is_a_405_with_what_is_allowed(bff: Any, method: str, path: str, allowed: str) -> None:
    answer = bff.ask(method, path)
    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "method_not_allowed", allowed)


@pytest.mark.parametrize("path", ["/api", "/nope", "/healthz/", "/api/v1/openapi.json%20", "/%2e%2e/etc"])
def test_a_path_that_nobody_serves_is_a_404(bff: Any, path: str) -> None:
    answer = bff.ask("GET", path)
    assert (answer.status, answer.code) == (404, "route_not_found")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/jsonx"},
        {"Content-Type": ""},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_a_body_of_another_type_is_a_415(bff: Any, headers: dict[str, str]) -> None:
    answer = bff.ask("POST", "/api/v1/services", b"{}", headers=headers)
    assert (answer.status, answer.code) == (415, "content_type_unsupported")


@pytest.mark.parametrize("kind", ["application/json", 'Application/JSON; charset="UTF-8"'])
def test_a_body_of_json_gets_through(bff: Any, kind: str) -> None:
    answer = bff.ask("POST", "/api/v1/services", b"{}", headers={"Content-Type": kind})
    assert answer.code == "service_unavailable"


def test_a_body_that_is_not_json_is_a_400(bff: Any) -> None:
    answer = bff.ask("POST", "/api/v1/services", b"{", headers=JSON)
    assert (answer.status, answer.code) == (400, "json_invalid")


def test_a_refused_field_is_named_in_the_problem(bff: Any) -> None:
    answer = bff.ask("POST", "/api/v1/services", {"price": {"chargeRule": 1}})
    assert (answer.status, answer.code) == (400, "invalid_argument")
    assert answer.json["errors"] == [{"field": "price.chargeRule", "description": "must be an object"}]


@pytest.mark.parametrize("value", ["Bearer \xfc", "Bearer a\tb", "x" * 5000])
def test_an_authorization_that_can_hold_no_token_is_a_401(bff: Any, value: str) -> None:
    answer = bff.ask("GET", "/api/v1/me", headers={"Authorization": value})
    assert (answer.status, answer.code) == (401, "token_invalid")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_two_authorizations_are_refused(bff: Any) -> None:
    head = b"GET /api/v1/me HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    answer = bff.send(head + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"header_repeated"' in answer


def test_the_log_has_one_line_a_request_and_none_of_its_secrets(bff: Any) -> None:
    bff.ask(
        "POST",
        "/api/v1/auth/sign-in?code=hush-query",
        {"email": "hush-body@ams.example"},
        token="hush-token",
        headers={"X-Request-Id": "logged-1"},
    )
    line = bff.log_line("logged-1")
    assert line["method"] == "POST"
    assert line["path"] == "/api/v1/auth/sign-in"
    assert line["status"] == 400
    assert line["duration_ms"] >= 0
    assert "hush" not in bff.log_path.read_text()


def test_a_client_that_goes_away_is_no_fault(bff: Any) -> None:
    with socket.create_connection(("127.0.0.1", bff.port)) as connection:
        connection.sendall(b"POST /api/v1/services HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{")
    assert bff.ask("GET", "/healthz").status == 200
    assert "unexpected error" not in bff.log_path.read_text()
