import json
from typing import Any

import pytest
from ams.catalog.v1 import catalog_service_pb2 as catalog
from ams.catalog.v1.events_pb2 import API
from ams.keys.v1 import keys_service_pb2 as keys
from ams.usage.v1 import usage_service_pb2 as usage
from ams_common.errors import InvalidArgumentError
from ams_rest.areas import AREAS
from ams_rest.routes import RouteTable, routes_of
from ams_rest.transcode import answer_document, read_request
from google.protobuf.message import Message

TABLE = RouteTable(routes_of(AREAS))


def read(method: str, path: str, query: str = "", body: Any = None) -> Message:
    text = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return read_request(TABLE.find(method, f"/api/v1{path}".encode()), query.encode(), text)


def refusal(method: str, path: str, query: str = "", body: Any = None) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as raised:
        read(method, path, query, body)
    return raised.value


def wrong_fields(*arguments: Any) -> dict[str, str]:
    error = refusal(*arguments)
    assert error.code == "invalid_argument"
    return dict(error.violations)


def test_the_body_becomes_the_request() -> None:
    fee = {"monthlyFee": {"amount": {"currencyCode": "EUR", "units": "1", "nanos": 5}}}
    price = {"currencyCode": "EUR", "components": [fee]}
    body = {"name": "n", "type": "API", "baseUrl": "https://a.example", "tags": ["x"], "price": price}
    request = read("POST", "/services", "", body)
    assert isinstance(request, catalog.CreateServiceRequest)
    assert (request.name, request.type, request.base_url, list(request.tags)) == (
        "n",
        API,
        "https://a.example",
        ["x"],
    )
    assert request.price.components[0].monthly_fee.amount.units == 1


def test_path_and_body_make_one_request() -> None:
    request = read("PATCH", "/services/7", "", {"updateMask": "name,baseUrl", "name": ""})
    assert isinstance(request, catalog.UpdateServiceRequest)
    assert request.service_id == "7"
    assert list(request.update_mask.paths) == ["name", "base_url"]
    assert request.name == ""


@pytest.mark.parametrize("body", [None, b"", {}, {"serviceId": "7"}])
def test_a_body_may_be_left_out_or_repeat_what_the_path_says(body: Any) -> None:
    assert read("POST", "/services/7:submit", "", body) == catalog.SubmitServiceRequest(service_id="7")


@pytest.mark.parametrize(
    "body",
    [{"serviceId": "8"}, {"serviceId": ["7"]}, {"serviceId": None}],
)
def test_a_body_that_contradicts_the_path_is_refused(body: Any) -> None:
    fields = wrong_fields("POST", "/services/7:submit", "", body)
    assert fields == {"serviceId": "is not what the path says"}


def test_the_query_becomes_the_request_of_a_get() -> None:
    query = "start=2026-11-01T00%3A00%3A00%2B01:00&granularity=HOUR&groupBy=KEY&serviceId=%C3%BC"
    request = read("GET", "/consumer/usage", query)
    assert isinstance(request, usage.GetUsageRequest)
    assert request.start.ToJsonString() == "2026-10-31T23:00:00Z"
    assert (request.granularity, request.group_by) == (usage.HOUR, usage.KEY)
    assert request.service_id == "ü"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("pageSize=x", "pageSize"),
        ("pageSize=", "pageSize"),
        ("pageSize=1_0", "pageSize"),
        ("pageSize=%D9%A3", "pageSize"),
        ("pageSize=1.5", "pageSize"),
        ("pageSize=99999999999", "pageSize"),
        ("pageSize=1&pageSize=1", "pageSize"),
        ("pageSize=1&pageSize=2", "pageSize"),
        ("status=NOPE", "status"),
        ("status=1", "status"),
        ("merchantId=", "merchantId"),
        ("orderBy=", "orderBy"),
        ("nope=1", "nope"),
        ("status.x=1", "status.x"),
        ("=1", ""),
        ("a..b=1", "a..b"),
    ],
)
def test_a_parameter_that_is_unknown_wrong_or_twice_is_refused_by_name(query: str, field: str) -> None:
    assert list(wrong_fields("GET", "/services", query)) == [field]


def test_where_the_body_holds_all_fields_the_query_holds_none() -> None:
    assert list(wrong_fields("POST", "/services/7:approve", "reason=x", {})) == ["reason"]
    assert list(wrong_fields("POST", "/services/7:approve", "serviceId=7", {})) == ["serviceId"]
    assert list(wrong_fields("GET", "/services/7", "serviceId=7")) == ["serviceId"]


@pytest.mark.parametrize("query", ["pageToken=%ff", "pageToken=%C3"])
def test_a_query_that_is_not_utf8_is_refused(query: str) -> None:
    assert refusal("GET", "/services", query).code == "query_invalid"


def test_a_query_of_endless_parameters_is_refused() -> None:
    assert refusal("GET", "/services", "pageSize=1&" * 1000).code == "query_invalid"


def test_a_get_takes_no_body() -> None:
    assert refusal("GET", "/me", "", {}).code == "body_not_expected"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"nope": 1}, ["nope"]),
        ({"name": 1}, ["name"]),
        ({"name": None}, ["name"]),
        ({"price": None}, ["price"]),
        ({"name": ["a"]}, ["name"]),
        ({"name": "\ud800"}, ["name"]),
        ({"tags": "a"}, ["tags"]),
        ({"tags": {"a": 1}}, ["tags"]),
        ({"tags": ["a", None, 3]}, ["tags[1]", "tags[2]"]),
        ({"type": "NOPE"}, ["type"]),
        ({"type": "\ud800"}, ["type"]),
        ({"\ud800": 1}, ["\\ud800"]),
        ({"type": []}, ["type"]),
        ({"type": True}, ["type"]),
        ({"type": 1.5}, ["type"]),
        ({"type": 99}, ["type"]),
        ({"type": 1}, ["type"]),
        ({"type": "1"}, ["type"]),
        ({"type": 10**30}, ["type"]),
        ({"rateLimitPerMinute": 1.5}, ["rateLimitPerMinute"]),
        ({"rateLimitPerMinute": True}, ["rateLimitPerMinute"]),
        ({"rateLimitPerMinute": "1"}, ["rateLimitPerMinute"]),
        ({"rateLimitPerMinute": 2**31}, ["rateLimitPerMinute"]),
        ({"rateLimitPerMinute": 1e300}, ["rateLimitPerMinute"]),
        ({"rateLimitPerMinute": "1" * 5000}, ["rateLimitPerMinute"]),
        ({"price": 1}, ["price"]),
        ({"price": {"chargeRule": []}}, ["price.chargeRule"]),
        (
            {"price": {"components": [{"monthlyFee": {"amount": {"units": 2**63}}}]}},
            ["price.components[0].monthlyFee.amount.units"],
        ),
        (
            {"price": {"components": [{"monthlyFee": {"amount": {"units": "1.0"}}}]}},
            ["price.components[0].monthlyFee.amount.units"],
        ),
        ({"price": {"charge_rule": {}}}, ["price.charge_rule"]),
        ({"idempotencyKey": "k"}, ["idempotencyKey"]),
        ({"name": "a", "price": {}, "nope": 1, "type": []}, ["nope", "type"]),
        ({"baseUrl": "a", "base_url": "a"}, ["base_url"]),
        ({"[a.b]": 1}, ["[a.b]"]),
    ],
)
def test_a_field_that_is_unknown_wrong_or_twice_is_refused_by_name(body: Any, fields: list[str]) -> None:
    assert list(wrong_fields("POST", "/services", "", body)) == fields


@pytest.mark.parametrize("mask", [1, [], {}, "base_url", "\ud800"])
def test_a_field_mask_that_is_none_is_refused_by_name(mask: Any) -> None:
    assert list(wrong_fields("PATCH", "/services/7", "", {"updateMask": mask})) == ["updateMask"]


@pytest.mark.parametrize("time", ["", "x", "2026-11-01", "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z"])
def test_a_time_that_is_none_is_refused_by_name(time: str) -> None:
    assert list(wrong_fields("GET", "/consumer/usage", f"start={time}")) == ["start"]


def test_what_the_client_sent_is_not_sent_back_at_length() -> None:
    error = refusal(
        "POST", "/services", "", {"x" * 100_000: 1, "name": ["y" * 100_000], "type": "z" * 100_000}
    )
    assert len(error.message) < 200
    assert all(len(violation.field) + len(violation.description) < 200 for violation in error.violations)
    many = refusal("POST", "/services", "", {f"f{number}": 1 for number in range(1000)})
    assert len(many.violations) == 20


@pytest.mark.parametrize("body", [[], 1, "a", True, None])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    assert refusal("POST", "/services", "", json.dumps(body).encode()).code == "invalid_argument"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nope",
        b" ",
        b"{}{}",
        b"{'a': 1}",
        b'{"name": "\xff"}',
        b'\xef\xbb\xbf{"name": "a"}',
        b'{"name": "a", "name": "a"}',
        b'{"price": {"chargeRule": {}, "chargeRule": {}}}',
        b'{"rateLimitPerMinute": NaN}',
        b'{"rateLimitPerMinute": -Infinity}',
        b'{"rateLimitPerMinute": 1e999}',
        b'{"rateLimitPerMinute": ' + b"1" * 10_000 + b"}",
        b'{"name": "\x00"}',
        b"\x00",
        b'{"name":' * 30_000,
        b"[" * 200_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
    ids=range(18),
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    error = refusal("POST", "/services", "", body)
    assert error.code == "json_invalid"
    assert len(error.message) < 200


def test_an_answer_shows_its_defaults_and_int64_as_text() -> None:
    document = answer_document(usage.UsageReport(total=usage.UsageFigures(requests=2**53 + 1)))
    assert document == {
        "granularity": "GRANULARITY_UNSPECIFIED",
        "points": [],
        "groups": [],
        "spikes": [],
        "uniqueConsumers": "0",
        "uniqueKeys": "0",
        "total": {
            "errors": "0",
            "p50ResponseTimeMs": 0.0,
            "p95ResponseTimeMs": 0.0,
            "p99ResponseTimeMs": 0.0,
            "requests": "9007199254740993",
            "billableRequests": "0",
            "requestBytes": "0",
            "responseBytes": "0",
            "requestMessages": "0",
            "responseMessages": "0",
            "meanResponseTimeMs": 0.0,
        },
    }
    assert answer_document(keys.Key(key_id="a"))["keyId"] == "a"
