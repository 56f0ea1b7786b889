"""REST calls that the real services answer."""

import json
import secrets
from typing import Any

import jwt
import pytest
from ams_common.ids import uuid7

ADMIN_EMAIL = "admin@ams.example"


def new_email() -> str:
    return f"{secrets.token_hex(6)}@people.example"


@pytest.fixture(scope="module")
def admin(all_services: Any) -> str:
    challenge = all_services.bff.ask("POST", "/api/v1/auth/sign-in", {"email": ADMIN_EMAIL})
    return str(all_services.sign_in(challenge, ADMIN_EMAIL))


@pytest.fixture(scope="module")
def consumer(all_services: Any) -> str:
    email = new_email()
    challenge = all_services.bff.ask(
        "POST", "/api/v1/auth/register/consumer", {"email": email, "name": "Zoë"}
    )
    return str(all_services.sign_in(challenge, email))


@pytest.fixture(scope="module")
def merchant(all_services: Any, admin: str) -> str:
    email = new_email()
    invited = all_services.bff.ask("POST", "/api/v1/invites", {"email": email}, admin)
    assert invited.status == 201, invited.text
    code = all_services.mailbox.wait_for(email, r"^(?:[0-9A-Z]{4}-){4}[0-9A-Z]{4}\r?$").strip()
    about = {"email": email, "name": "M", "companyName": "Münz AG", "inviteCode": code}
    return str(
        all_services.sign_in(all_services.bff.ask("POST", "/api/v1/auth/register/merchant", about), email)
    )


def test_all_services_are_ready(all_services: Any) -> None:
    ready = all_services.bff.ask("GET", "/readyz")
    assert ready.status == 200, ready.text
    assert set(ready.json["services"].values()) == {"serving"}


def test_the_answer_is_protobuf_json(all_services: Any, consumer: str) -> None:
    me = all_services.bff.ask("GET", "/api/v1/me", token=consumer)
    assert me.status == 200
    assert me.headers.get_content_type() == "application/json"
    assert me.headers["cache-control"] == "no-store"
    assert (me.json["name"], me.json["roles"], me.json["activeRole"]) == ("Zoë", ["CONSUMER"], "CONSUMER")
    assert me.json["createdAt"].endswith("Z")


def test_debug_makes_answers_readable_and_changes_nothing_else(all_services: Any, consumer: str) -> None:
    me = all_services.bff.ask("GET", "/api/v1/me", token=consumer)  # this BFF has it on
    assert me.text == json.dumps(me.json, indent=2, ensure_ascii=False)


def test_the_jwks_verifies_the_tokens_of_a_session(all_services: Any, consumer: str) -> None:
    answer = all_services.bff.ask("GET", "/.well-known/jwks.json")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert all("d" not in key for key in answer.json["keys"])
    key = jwt.PyJWKSet.from_dict(answer.json)[jwt.get_unverified_header(consumer)["kid"]]
    assert jwt.decode(consumer, key, algorithms=["EdDSA"], audience="ams", issuer="ams")["sub"]


def test_a_service_is_made_changed_and_approved_through_rest(
    all_services: Any, merchant: str, admin: str
) -> None:
    def ask(method: str, path: str, body: Any, token: str) -> Any:
        answer = all_services.bff.ask(method, f"/api/v1{path}", body, token)
        assert answer.status in (200, 201), answer.text
        return answer.json

    amount = {"currencyCode": "EUR", "units": "0", "nanos": 5_000_000}
    made = ask(
        "POST",
        "/services",
        {
            "name": f"Weather {secrets.token_hex(4)}",
            "description": "d",
            "type": "API",
            "baseUrl": "https://weather.example",
            "documentationUrl": "https://weather.example/docs",
            "version": "1",
            "price": {
                "currencyCode": "EUR",
                "components": [{"meter": "REQUESTS", "perUnit": {"amount": amount}}],
            },
            "rateLimitPerMinute": 60,
        },
        merchant,
    )
    [component] = made["price"]["components"]
    assert (made["status"], made["tags"], component["perUnit"]["amount"]) == ("DRAFT", [], amount)
    path = f"/services/{made['serviceId']}"
    changed = ask("PATCH", path, {"updateMask": "tags", "tags": ["sun"]}, merchant)
    assert changed["tags"] == ["sun"]
    ask("POST", f"{path}:submit", None, merchant)
    assert ask("POST", f"{path}:approve", {}, admin)["status"] == "ACTIVE"
    marketplace = "/api/v1/marketplace/services?tag=sun&pageSize=1"

    def shown_with_name() -> Any:
        # The merchant's name comes to catalog-svc by an event of its own, before or after the approval.
        services = all_services.bff.ask("GET", marketplace).json["services"]
        return [service for service in services if service["merchantName"]]

    [shown] = all_services.wait_until(shown_with_name)
    assert (shown["serviceId"], shown["merchantName"]) == (made["serviceId"], "Münz AG")
    again = all_services.bff.ask("POST", f"/api/v1{path}:approve", {}, admin)
    assert (again.status, again.code) == (409, "service_not_pending")


def test_without_a_token_it_is_a_401(all_services: Any) -> None:
    answer = all_services.bff.ask("GET", "/api/v1/me")
    assert (answer.status, answer.code) == (401, "sign_in_required")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "", " "])
def test_a_token_that_is_none_is_a_401(all_services: Any, token: str) -> None:
    answer = all_services.bff.ask("GET", "/api/v1/me", token=token)
    assert (answer.status, answer.code) == (401, "token_invalid")


def test_without_the_role_it_is_a_403(all_services: Any, consumer: str) -> None:
    answer = all_services.bff.ask("GET", "/api/v1/merchants", token=consumer)
    assert (answer.status, answer.code) == (403, "role_required")


def test_what_is_not_there_is_a_404(all_services: Any, admin: str) -> None:
    answer = all_services.bff.ask("GET", f"/api/v1/merchants/{uuid7()}", token=admin)
    assert (answer.status, answer.code) == (404, "merchant_not_found")


def test_a_field_that_the_service_refuses_is_named(all_services: Any, admin: str) -> None:
    answer = all_services.bff.ask("GET", "/api/v1/merchants/7?", token=admin)
    assert (answer.status, answer.code) == (400, "invalid_argument")
    assert [error["field"] for error in answer.json["errors"]] == ["merchantId"]
    zero = all_services.bff.ask("POST", "/api/v1/invites", {"email": "a\x00b@ams.example"}, admin)
    assert (zero.status, zero.code) == (400, "invalid_argument")


def test_too_many_codes_are_a_429_that_says_when_to_come_back(all_services: Any) -> None:
    email = new_email()
    body = {"email": email, "name": "a"}
    answers = [all_services.bff.ask("POST", "/api/v1/auth/register/consumer", body) for _ in range(21)]
    last = answers[-1]
    assert (last.status, last.code) == (429, "too_many_codes")
    assert int(last.headers["retry-after"]) > 0


def test_no_call_of_the_town_was_an_unexpected_error(all_services: Any) -> None:
    assert "unexpected error" not in all_services.bff.log_path.read_text()
