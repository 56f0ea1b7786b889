"""Whatever is sent, an answer is never a 500: to each route random JSON, queries and path values, built
from the route's own fields so that they get past the first check."""

import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from ams_common.ids import uuid7
from ams_rest.areas import AREAS, PROCESSES
from ams_rest.routes import Route, RouteTable, routes_of
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROUTES = RouteTable(routes_of(AREAS)).routes
SETTINGS = settings(
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["", " ", "\x00", "\ud800", "..", "a/b", "2026-11", "2026-11-30T12:00:00Z", "-1", "1e400"]
    ),
    st.just("x" * 10_000),
    st.builds(lambda: str(uuid7())),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, -1, 2**31, 2**63, 2**64, 10**400]),
    st.floats(),
    texts,
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def likely(field: FieldDescriptor, depth: int = 3) -> st.SearchStrategy[Any]:
    """Mostly what the field takes, sometimes anything."""
    single: st.SearchStrategy[Any] = texts
    if field.enum_type is not None:
        single = st.sampled_from(list(field.enum_type.values_by_name))
    elif (
        field.message_type is not None and depth and not field.message_type.full_name.startswith("google.pr")
    ):
        single = objects(field.message_type, depth - 1)
    elif field.cpp_type in (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64):
        single = st.integers(-(2**31), 2**31 - 1)
    return st.one_of(st.lists(single, max_size=3) if field.is_repeated else single, values)


def objects(message: Descriptor, depth: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    known = {field.json_name: likely(field, depth) for field in message.fields}
    unknown = st.dictionaries(st.text(max_size=5), values, max_size=1)
    return st.builds(lambda one, two: one | two, st.fixed_dictionaries({}, optional=known), unknown)


def bodies(route: Route) -> st.SearchStrategy[bytes | None]:
    if not route.body:
        return st.one_of(st.none(), st.binary(max_size=3))
    whole = st.one_of(objects(route.request), values).map(lambda value: json.dumps(value).encode())
    broken = st.builds(lambda text, at: text[: at % (len(text) + 1)], whole, st.integers(0, 10_000))
    return st.one_of(whole, whole, broken, st.binary(max_size=40), st.just(b"[" * 100_000))


def queries(route: Route) -> st.SearchStrategy[str]:
    names = st.sampled_from([field.json_name for field in route.request.fields] or ["x"]) | st.text(
        max_size=9
    )
    pair = st.builds(
        lambda name, value: f"{_escaped_plus(name)}={_escaped_plus(value)}",
        names,
        st.one_of(texts, st.just("%ff")),
    )
    return st.lists(pair, max_size=4).map("&".join)


def paths(route: Route) -> st.SearchStrategy[str]:
    """The route's path with random values for its variables."""
    parts = [st.just("")] + [
        _values(route, segment[1:-1]).map(_escaped) if segment.startswith("{") else st.just(segment)
        for segment in route.template.segments
    ]
    verb = f":{route.template.verb}" if route.template.verb else ""
    return st.tuples(*parts).map(lambda chosen: "/".join(chosen) + verb)


def _values(route: Route, variable: str) -> st.SearchStrategy[str]:
    """What says which process is asked is mostly one of them: the others get no further than the BFF."""
    return st.sampled_from(PROCESSES) | texts if variable == route.area.process_field else texts


def _escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def _escaped_plus(text: str) -> str:
    return text if text == "%ff" else quote_plus(text.encode("utf-8", "surrogatepass"))


each_route = pytest.mark.parametrize("route", [pytest.param(route, id=route.rpc.name) for route in ROUTES])


@each_route
@SETTINGS
@given(data=st.data())
def test_with_nobody_behind_it_each_answer_is_a_refusal_or_a_503(bff: Any, route: Route, data: Any) -> None:
    answer = _ask(bff, route, data, token=None)
    assert answer.status in (400, 404, 405, 503), answer.text
    assert answer.code


@each_route
@SETTINGS
@given(data=st.data())
def test_the_services_never_fail(all_services: Any, everybody: str, route: Route, data: Any) -> None:
    answer = _ask(all_services.bff, route, data, token=everybody)
    assert answer.status in (200, 201, 400, 401, 403, 404, 405, 409, 429), answer.text


@pytest.fixture(scope="module")
def everybody(all_services: Any) -> str:
    """The token of somebody who holds every role, so that nothing stops at the policy."""
    email = "every-role@ams.example"
    admin = all_services.sign_in(
        all_services.bff.ask("POST", "/api/v1/auth/sign-in", {"email": email}), email
    )
    all_services.sign_in(
        all_services.bff.ask("POST", "/api/v1/auth/register/consumer", {"email": email, "name": "E"}), email
    )
    assert all_services.bff.ask("POST", "/api/v1/invites", {"email": email}, admin).status == 201
    code = all_services.mailbox.wait_for(email, r"^(?:[0-9A-Z]{4}-){4}[0-9A-Z]{4}\r?$").strip()
    about = {"email": email, "name": "E", "companyName": "E", "inviteCode": code}
    token = str(
        all_services.sign_in(all_services.bff.ask("POST", "/api/v1/auth/register/merchant", about), email)
    )
    roles = all_services.bff.ask("GET", "/api/v1/me", token=token).json["roles"]
    assert sorted(roles) == ["ADMIN", "CONSUMER", "MERCHANT"]
    return token


def _ask(bff: Any, route: Route, data: Any, token: str | None) -> Any:
    path = data.draw(paths(route))
    query = data.draw(queries(route))
    body = data.draw(bodies(route))
    return bff.ask(route.http_method, f"{path}?{query}" if query else path, body, token)
