"""ETags, conditions, idempotency keys and the calls' own limit, through the whole system."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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


@pytest.fixture
def consumer(all_services: Any) -> Callable[[], str]:
    """`consumer()`: the token of somebody new."""

    def register() -> str:
        email = f"{secrets.token_hex(6)}@people.example"
        body = {"email": email, "name": "Cora"}
        challenge = all_services.bff.ask("POST", "/api/v1/auth/register/consumer", body)
        return str(all_services.sign_in(challenge, email))

    return register


@dataclass(frozen=True)
class Project:
    """A project through REST, as its owner and others see and change it."""

    bff: Any
    owner: str
    path: str

    def read(self, token: str = "", **headers: str) -> Any:
        return self.bff.ask("GET", self.path, token=token or self.owner, headers=headers)

    def rename(self, name: str, if_match: str | None = None, token: str = "") -> Any:
        headers = {} if if_match is None else {"If-Match": if_match}
        return self.bff.ask("PATCH", self.path, {"name": name}, token or self.owner, headers)


@pytest.fixture
def project(all_services: Any, consumer: Callable[[], str]) -> Project:
    owner = consumer()
    made = all_services.bff.ask("POST", "/api/v1/projects", {"name": "Maps"}, owner)
    assert made.headers["etag"] == f'"{made.json["etag"]}"'
    return Project(all_services.bff, owner, made.headers["location"])


def test_a_resources_etag_is_the_header_of_what_reads_and_of_what_changes_it(project: Project) -> None:
    first = project.read()
    etag = first.headers["etag"]
    assert etag == f'"{first.json["etag"]}"'
    changed = project.rename("Tiles", etag)
    assert (changed.status, changed.json["name"]) == (200, "Tiles")
    assert changed.headers["etag"] != etag
    unchanged = project.read(**{"If-None-Match": changed.headers["etag"]})
    assert (unchanged.status, unchanged.headers["etag"]) == (304, changed.headers["etag"])
    assert project.read(**{"If-None-Match": etag}).json == changed.json


def test_what_was_changed_since_is_not_changed(project: Project) -> None:
    etag = project.read().headers["etag"]
    assert project.rename("Tiles", etag).status == 200
    refused = project.rename("Roads", etag)
    assert (refused.status, refused.code) == (412, "etag_mismatch")
    assert project.read().json["name"] == "Tiles"


def test_if_match_is_read_as_rfc_9110_has_it(project: Project) -> None:
    def etag() -> str:
        return str(project.read().headers["etag"])

    assert project.rename("1").status == 200
    assert project.rename("2", "*").status == 200
    assert project.rename("3", f'"other", W/"weak", {etag()}').status == 200
    for never in (f"W/{etag()}", '"other"', '""', f'"{etag()[1:-1].upper()}x"'):
        assert project.rename("no", never).code == "etag_mismatch"
    for garbage in ("", "other", etag()[:-1], etag().strip('"'), f"{etag()} {etag()}", "*, *"):
        refused = project.rename("no", garbage)
        assert (refused.status, refused.code) == (400, "if_match_invalid")
    assert project.read().json["name"] == "3"
    body = {"name": "no", "etag": etag()}
    told = project.bff.ask("PATCH", project.path, body, project.owner)
    assert (told.status, told.json["errors"][0]["field"]) == (400, "etag")


def test_of_twenty_who_change_it_at_once_one_does(project: Project) -> None:
    etag = project.read().headers["etag"]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: project.rename(f"Name {n}", etag), range(20)))
    assert sorted(answer.status for answer in answers) == [200, *[412] * 19]
    [made] = [answer.json for answer in answers if answer.status == 200]
    assert project.read().json == made


def test_to_others_an_etag_tells_nothing(project: Project, consumer: Callable[[], str]) -> None:
    other = consumer()
    for if_match in (project.read().headers["etag"], '"other"', "*", None):
        assert (project.rename("Mine", if_match, other).code) == "project_not_found"
    assert project.read(other, **{"If-None-Match": project.read().headers["etag"]}).status == 404


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
