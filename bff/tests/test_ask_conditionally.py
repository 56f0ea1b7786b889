"""ETags, conditions, idempotency keys and the calls' own limit, through the whole system."""

import secrets
from typing import Any

import pytest


@pytest.fixture(scope="module")
def admin(all_services: Any) -> str:
    email = "admin@ams.example"
    return str(
        all_services.sign_in(all_services.bff.ask("POST", "/api/v1/auth/sign-in", {"email": email}), email)
    )


def test_an_answer_that_has_not_changed_comes_without_its_body(all_services: Any, admin: str) -> None:
    first = all_services.bff.ask("GET", "/api/v1/me", token=admin)
    etag = first.headers["etag"]
    for sent in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = all_services.bff.ask("GET", "/api/v1/me", token=admin, headers={"If-None-Match": sent})
        assert (again.status, again.text, again.headers["etag"]) == (304, "", etag)
    other = all_services.bff.ask("GET", "/api/v1/me", token=admin, headers={"If-None-Match": '"other"'})
    assert (other.status, other.json) == (200, first.json)


def test_a_condition_that_a_call_cannot_obey_is_refused(all_services: Any, admin: str) -> None:
    refused = all_services.bff.ask(
        "POST", "/api/v1/auth/sign-out", {"refreshToken": "x"}, headers={"If-Match": '"1.ab"'}
    )
    assert (refused.status, refused.code) == (400, "if_match_unsupported")


def test_what_is_sent_again_with_its_key_is_made_once(all_services: Any, admin: str) -> None:
    body, key = (
        {"email": f"{secrets.token_hex(6)}@people.example"},
        {"Idempotency-Key": f'"{secrets.token_hex(8)}"'},
    )
    first = all_services.bff.ask("POST", "/api/v1/invites", body, admin, key)
    again = all_services.bff.ask("POST", "/api/v1/invites", body, admin, key)
    assert (first.status, again.status) == (201, 201)
    assert first.json == again.json
    other = all_services.bff.ask("POST", "/api/v1/invites", {"email": "o@people.example"}, admin, key)
    assert other.code == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/invites", {"Idempotency-Key": "a b"}, "idempotency_key_invalid"),
        ("/invites", {"Idempotency-Key": "x" * 65}, "idempotency_key_invalid"),
        ("/invites", {"Idempotency-Key": ""}, "idempotency_key_invalid"),
        ("/auth/sign-in", {"Idempotency-Key": "a"}, "idempotency_key_unsupported"),
    ],
)
def test_an_idempotency_key_that_cannot_be_obeyed_is_refused(
    all_services: Any, admin: str, path: str, headers: dict[str, str], code: str
) -> None:
    body = {"email": "somebody@people.example"}
    answer = all_services.bff.ask("POST", f"/api/v1{path}", body, admin, headers)
    assert (answer.status, answer.code) == (400, code)


def test_calls_are_limited_by_token_and_say_so(all_services: Any, start_bff: Any, redis_url: str) -> None:
    bff = start_bff(BFF_REST_CALLS_PER_MINUTE="3", REDIS_URL=redis_url)
    token = secrets.token_hex(8)
    answers = [bff.ask("GET", "/api/v1/me", token=token) for _ in range(4)]
    # What is behind this BFF is away, which counts all the same.
    assert [answer.status for answer in answers] == [503, 503, 503, 429]
    refused = answers[-1]
    assert refused.code == "rate_limited"
    assert refused.headers["ratelimit-policy"] == '"minute";q=3;w=60'
    assert refused.headers["ratelimit"].startswith('"minute";r=0;t=')
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert bff.ask("GET", "/api/v1/me", token=secrets.token_hex(8)).status == 503


def test_made_up_tokens_are_limited_by_their_address(start_bff: Any, redis_url: str) -> None:
    # A network of its own, so that no other test's calls count.
    address = f"198.51.100.{secrets.randbelow(256)}"
    bff = start_bff(BFF_REST_CALLS_PER_MINUTE="2", REDIS_URL=redis_url, BFF_TRUSTED_PROXIES="1")
    headers = {"X-Forwarded-For": address}
    statuses = [
        bff.ask("GET", "/api/v1/me", token=secrets.token_hex(8), headers=headers).status for _ in range(11)
    ]
    assert statuses == [503] * 10 + [429]


def test_without_redis_calls_are_served_uncounted(bff: Any) -> None:
    answer = bff.ask("GET", "/api/v1/me")
    assert (answer.status, answer.code) == (503, "service_unavailable")
    assert "ratelimit" not in answer.headers
