"""If-Match, ETag and the fields that they stand for: which routes have them, and what is read of a header."""

from typing import Any

import pytest
from ams.keys.v1 import key_settings_service_pb2 as pb
from ams.policy.v1.policy_pb2 import field
from ams_common.errors import AppError, InvalidArgumentError
from ams_common.etags import has_etag
from ams_rest import openapi
from ams_rest.areas import AREAS
from ams_rest.conditions import apply_headers
from ams_rest.etags import wanted_etags
from ams_rest.field_paths import json_fields
from ams_rest.routes import Route, routes_of
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

ROUTES = routes_of(AREAS)
DOCUMENT = openapi.build(ROUTES, "https://ams.example")
ONE, TWO = "0123456789abcdef0123456789abcdef", "f" * 32


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("*", ""),
        (" * ", ""),
        (f'"{ONE}"', ONE),
        (f'"{ONE}", "{TWO}"', f"{ONE},{TWO}"),
        (f' "{ONE}" ,, "{TWO}", ', f"{ONE},{TWO}"),
        # A weak tag never matches, nor one that we haven't made; what is beside it may.
        (f'W/"{ONE}"', "-"),
        (f'W/"{ONE}", "{TWO}"', TWO),
        ('""', "-"),
        (f'"{ONE},{TWO}"', "-"),
        ('"*"', "-"),
        ('"caf\xe9"', "-"),
    ],
)
def test_tags_are_read_as_rfc_9110_has_them(header: str, wanted: str) -> None:
    assert wanted_etags(header) == wanted


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        ",",
        ONE,
        f'"{ONE}',
        f"'{ONE}'",
        f'w/"{ONE}"',
        f'"{ONE}" "{TWO}"',
        f'*, "{ONE}"',
        '"a b"',
        "W/*",
    ],
)
def test_what_is_no_list_of_tags_is_refused(header: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        wanted_etags(header)
    assert refused.value.code == "if_match_invalid"


def test_a_list_is_as_long_as_the_field_may_be_and_no_longer() -> None:
    tags = wanted_etags(", ".join([f'"{ONE}"'] * 20))
    most = pb.UpdateKeyRequest.DESCRIPTOR.fields_by_name["etag"].GetOptions().Extensions[field].max_len
    assert len(tags) <= most
    with pytest.raises(InvalidArgumentError):
        wanted_etags(", ".join([f'"{ONE}"'] * 21))


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_any_header_is_read_or_refused(header: str) -> None:
    try:
        wanted = wanted_etags(header)
    except AppError as error:
        assert error.code == "if_match_invalid"
    else:
        assert all(tag == "-" or f'"{tag}"' in header for tag in wanted.split(",") if tag)


def test_lines_of_a_header_are_one_list() -> None:
    message = pb.UpdateKeyRequest()
    apply_headers(message, Headers(raw=[(b"if-match", f'"{tag}"'.encode()) for tag in (ONE, TWO)]))
    assert message.etag == f"{ONE},{TWO}"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.http_method} {route.rpc.name}")
def test_a_route_takes_if_match_exactly_when_its_contract_does_and_says_so(route: Route) -> None:
    takes = has_etag(route.request)
    message: Any = GetMessageClass(route.request)()
    try:
        apply_headers(message, Headers({"if-match": f'"{ONE}"'}))
    except InvalidArgumentError as refused:
        assert (takes, refused.code) == (False, "if_match_unsupported")
    else:
        assert takes and message.etag == ONE
    # In the header alone: what is said twice could be said in two ways.
    assert "etag" not in {each.name for each in json_fields(route.request)}
    described = DOCUMENT["paths"][openapi.path_of(route)][route.http_method.lower()]
    headers = {each["name"] for each in described.get("parameters", []) if each["in"] == "header"}
    assert ("If-Match" in headers) == ("412" in described["responses"]) == takes
    answered = next(answer for status, answer in described["responses"].items() if status in ("200", "201"))
    assert ("etag" in answered["headers"]) == (route.http_method == "GET" or has_etag(route.rpc.output_type))


def test_resources_with_an_etag_have_it_in_json_and_in_the_document() -> None:
    resources = {route.rpc.output_type for route in ROUTES if has_etag(route.rpc.output_type)}
    assert {resource.name for resource in resources} == {
        *("Service", "ListPricesResponse", "Key", "Project", "ProjectMembership"),
        *("PlatformSettings", "MerchantProfile", "ServiceConsumer", "ProjectSpendCap"),
    }
    for resource in resources:
        assert "etag" in {each.name for each in json_fields(resource)}
        assert "etag" in DOCUMENT["components"]["schemas"][resource.name]["required"]


def test_whatever_changes_a_resource_with_an_etag_takes_one_but_for_who_has_not_seen_it() -> None:
    changes = [route for route in ROUTES if route.rule.audit and has_etag(route.rpc.output_type)]
    first_sights = {"CreateService", "CreateProject", "AcceptProjectInvitation"}
    assert {route.rpc.name for route in changes if not has_etag(route.request)} == first_sights
