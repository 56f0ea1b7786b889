"""What the document says of requests is what is asked of them: no more, and no less."""

import re
from itertools import product
from typing import Any

import pytest
from ams_rest import openapi
from ams_rest.areas import AREAS
from ams_rest.routes import RouteTable, routes_of
from openapi_schema_validator import OAS31Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

ROUTES = RouteTable(routes_of(AREAS)).routes


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.build(ROUTES, "https://ams.example")


def is_valid(document: dict[str, Any], component: str, value: Any) -> bool:
    registry = Registry().with_resource("urn:api", Resource.from_contents(document, DRAFT202012))
    schema = {"$ref": f"urn:api#/components/schemas/{component}"}
    valid: bool = OAS31Validator(schema, registry=registry).is_valid(value)
    return valid


def parameter(document: dict[str, Any], path: str, name: str) -> dict[str, Any]:
    [found] = [each for each in document["paths"][path]["get"]["parameters"] if each["name"] == name]
    schema: dict[str, Any] = found["schema"]
    return schema


def body(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    operation = document["paths"][path][method]
    schema: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return schema


def test_of_alternatives_one_is_sent(document: dict[str, Any]) -> None:
    fee = {"amount": {"currencyCode": "EUR", "units": "1"}}
    assert is_valid(document, "PriceComponentInput", {"monthlyFee": fee})
    assert is_valid(document, "PriceComponentInput", {"meter": "REQUESTS", "perUnit": fee})
    assert not is_valid(document, "PriceComponentInput", {"monthlyFee": fee, "perUnit": fee})


@pytest.mark.parametrize(
    ("units", "is_whole"), [("12", True), (12, True), ("-3", True), ("", False), ("1.5", False), ("x", False)]
)
def test_numbers_of_64_bits_are_digits_or_numbers(
    document: dict[str, Any], units: Any, is_whole: bool
) -> None:
    assert is_valid(document, "MoneyInput", {"currencyCode": "EUR", "units": units}) is is_whole


def test_what_has_to_be_above_nothing_is_never_nothing(document: dict[str, Any]) -> None:
    size = document["components"]["schemas"]["PackagesInput"]["properties"]["size"]
    assert re.search(size["pattern"], "1000") and size["minimum"] == 1
    assert not any(re.search(size["pattern"], text) for text in ("0", "-1", "", "01"))


def test_lists_say_what_they_sort_by(document: dict[str, Any]) -> None:
    orders = parameter(document, "/api/v1/marketplace/services", "orderBy")["enum"]
    names = ("name", "published_at", "typical_month", "relevance")
    assert orders == [f"{name}{way}" for name, way in product(names, ("", " desc"))]


def test_a_mask_names_fields_of_its_request(document: dict[str, Any]) -> None:
    pattern = body(document, "patch", "/api/v1/services/{serviceId}")["properties"]["updateMask"]["pattern"]
    assert re.search(pattern, "name") and re.search(pattern, "name,baseUrl")
    assert not any(re.search(pattern, mask) for mask in ("", "nope", "base_url", "name,", "serviceId"))


def test_a_choice_that_is_required_is_not_left_open(document: dict[str, Any]) -> None:
    role = body(document, "post", "/api/v1/tokens")["properties"]["role"]
    assert role["not"] == {"const": "ROLE_UNSPECIFIED"}


def test_a_name_is_one_line_of_plain_text(document: dict[str, Any]) -> None:
    pattern = body(document, "post", "/api/v1/projects")["properties"]["name"]["pattern"]
    assert re.search(pattern, "Maps & Söhne")
    assert not any(re.search(pattern, name) for name in ("", " ", "two\nlines", "turned\u202eround"))


def test_a_filter_that_has_a_format_is_never_empty(document: dict[str, Any]) -> None:
    merchant_id = parameter(document, "/api/v1/services", "merchantId")
    assert (merchant_id["format"], merchant_id["minLength"]) == ("uuid", 1)
    assert re.search(parameter(document, "/api/v1/services", "query")["pattern"], "")


def test_bytes_are_base64_within_their_bounds(document: dict[str, Any]) -> None:
    content = body(document, "post", "/api/v1/me/picture")["properties"]["content"]
    assert (content["minLength"], content["maxLength"]) == (4, 2_796_204)
    assert re.search(content["pattern"], "AAEC") and re.search(content["pattern"], "AA==")
    assert not any(re.search(content["pattern"], text) for text in ("A", "AAE", "A===", "äää="))


def test_whatever_may_be_answered_is_named(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for operation in [] if path.startswith("/api/consume") else item.values():
            statuses = set(operation["responses"])
            assert statuses >= {"400", "429", "503", "504"}
            assert ("requestBody" in operation) == (statuses >= {"413", "415"})
    # A filter may name what isn't there.
    assert "404" in document["paths"]["/api/v1/alerts"]["get"]["responses"]


def test_headers_that_always_come_are_required(document: dict[str, Any]) -> None:
    headers = document["components"]["headers"]
    required = {name for name, header in headers.items() if header["required"]}
    assert required == {"RequestId", "ETag", "Location", "WwwAuthenticate"}
