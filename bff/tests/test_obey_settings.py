"""What admins set is obeyed by the running services within seconds, each by whom it concerns."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

ADMIN_EMAIL = "admin@ams.example"
_PATH = "/api/v1/platform-settings"
_CODE = r"^(?:[0-9A-Z]{4}-){4}[0-9A-Z]{4}\r?$"


@pytest.fixture(scope="module")
def admin(all_services: Any) -> str:
    challenge = all_services.bff.ask("POST", "/api/v1/auth/sign-in", {"email": ADMIN_EMAIL})
    return str(all_services.sign_in(challenge, ADMIN_EMAIL))


@pytest.fixture
def change(all_services: Any, admin: str) -> Iterator[Any]:
    """Changes settings through REST; the test's end puts back what it found."""
    bff = all_services.bff
    before = bff.ask("GET", _PATH, None, admin).json

    def change(**values: Any) -> Any:
        mask = ",".join(values)
        answer = bff.ask("PATCH", _PATH, {"updateMask": mask, **values}, admin)
        assert answer.status == 200, answer.text
        return answer.json

    yield change
    settings = {name: value for name, value in before.items() if name not in ("version", "etag")}
    change(**settings)


def register(all_services: Any, domain: str = "people.example") -> Any:
    body = {"email": f"{secrets.token_hex(5)}@{domain}", "name": "C"}
    return all_services.bff.ask("POST", "/api/v1/auth/register/consumer", body)


def test_registration_closes_and_opens_again(all_services: Any, browsers: Any, change: Any) -> None:
    change(isRegistrationOpen=False)
    refused = register(all_services)
    assert (refused.status, refused.code) == (409, "registration_closed")
    page = browsers.browser().post("/register", "/register", email="new@people.example", name="N")
    assert page.status == 409
    assert "Nobody can register at the moment" in page.text
    change(isRegistrationOpen=True)
    assert register(all_services).status == 200


def test_only_allowed_domains_register(all_services: Any, change: Any) -> None:
    change(allowedMailDomains=["allowed.example"])
    assert register(all_services).code == "mail_domain_not_allowed"
    assert register(all_services, "eu.allowed.example").status == 200


def test_a_merchant_makes_no_more_services_than_are_allowed(
    all_services: Any, admin: str, change: Any
) -> None:
    bff, tag = all_services.bff, secrets.token_hex(4)
    email = f"{tag}@merchants.example"
    assert bff.ask("POST", "/api/v1/invites", {"email": email}, admin).status == 201
    code = all_services.mailbox.wait_for(email, _CODE).strip()
    about = {"email": email, "name": "M", "companyName": f"Maps {tag}", "inviteCode": code}
    merchant = all_services.sign_in(bff.ask("POST", "/api/v1/auth/register/merchant", about), email)

    def create() -> Any:
        body: dict[str, Any] = {"name": f"Geo {secrets.token_hex(3)}", "description": "Where?", "type": "API"}
        body |= {"version": "1", "price": {"currencyCode": "EUR"}, "baseUrl": "https://api.maps.example"}
        return bff.ask("POST", "/api/v1/services", body, merchant)

    # catalog-svc hears of the merchant a moment later.
    all_services.wait_until(lambda: create().status == 201)
    change(maxServices=1)

    def is_refused() -> bool:
        answer = create()
        return bool(answer.status == 409 and answer.code == "service_limit_reached")

    all_services.wait_until(is_refused)
    change(maxServices=200)
    all_services.wait_until(lambda: create().status == 201)
