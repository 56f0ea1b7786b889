import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from ams.keys.v1 import keys_service_pb2 as keys
from ams_rest import comments, openapi
from ams_rest.areas import AREAS
from ams_rest.routes import RouteTable, routes_of
from ams_rest.schemas import Components, SchemaError, Schemas
from google.protobuf import struct_pb2
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

ROUTES = RouteTable(routes_of(AREAS)).routes


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.build(ROUTES, "https://ams.example")


def operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][f"/api/v1{path}"][method]
    return found


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1.")


def test_every_route_is_described_once(document: dict[str, Any]) -> None:
    described = [
        (method, operation["operationId"])
        for path, operations in document["paths"].items()
        if not path.startswith("/api/consume")
        for method, operation in operations.items()
    ]
    assert sorted(described) == sorted((route.http_method.lower(), route.rpc.name) for route in ROUTES)


def test_every_operation_has_the_comment_of_its_rpc(document: dict[str, Any]) -> None:
    told = comments.load()
    approve = operation(document, "post", "/services/{serviceId}:approve")
    assert approve["description"] == "PENDING_APPROVAL → ACTIVE; its price starts now. For admin."
    with_comment = [route for route in ROUTES if route.rpc.full_name in told]
    assert len(with_comment) > 30
    texts = [op.get("description", "") for ops in document["paths"].values() for op in _operations(ops)]
    assert all(any(told[r.rpc.full_name] in text for text in texts) for r in with_comment)


def _operations(of_a_path: dict[str, Any]) -> list[dict[str, Any]]:
    return [found for found in of_a_path.values() if isinstance(found, dict)]


def test_public_calls_need_no_token_and_all_others_do(document: dict[str, Any]) -> None:
    for route in ROUTES:
        path = openapi.path_of(route).removeprefix("/api/v1")
        described = operation(document, route.http_method.lower(), path)
        assert described["security"] == ([] if route.rule.public else [{"bearer": []}])


def test_where_a_merchants_api_lies_is_in_no_answer_that_everybody_gets(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert "baseUrl" in schemas["Service"]["properties"]
    assert "baseUrl" not in schemas["MarketplaceService"]["properties"]


def test_path_fields_are_parameters_and_not_in_the_body(document: dict[str, Any]) -> None:
    update = operation(document, "patch", "/services/{serviceId}")
    [parameter, header] = update["parameters"]
    assert (header["name"], header["in"]) == ("If-Match", "header")
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("serviceId", "path", True)
    assert parameter["schema"]["format"] == "uuid"
    schema = update["requestBody"]["content"]["application/json"]["schema"]
    assert "serviceId" not in schema["properties"]
    assert schema["required"] == ["updateMask"]
    assert schema["additionalProperties"] is False


def test_a_path_that_names_a_process_says_which_there_are(document: dict[str, Any]) -> None:
    keepers = ["identity", "catalog", "keys", "usage", "billing", "registry"]
    for method, path in (
        ("get", ""),
        ("post", "/{deadLetterId}:replay"),
        ("post", "/{deadLetterId}:dismiss"),
    ):
        described = operation(document, method, f"/admin/dead-letters/{{keeper}}{path}")
        [keeper] = [each for each in described["parameters"] if each["name"] == "keeper"]
        assert (keeper["in"], keeper["schema"]["enum"]) == ("path", keepers)


def test_the_fields_of_a_get_are_query_parameters(document: dict[str, Any]) -> None:
    listed = operation(document, "get", "/services")
    assert "requestBody" not in listed
    parameters = {parameter["name"]: parameter for parameter in listed["parameters"]}
    assert parameters.pop("If-None-Match")["in"] == "header"
    assert list(parameters) == ["pageSize", "pageToken", "status", "merchantId", "query", "orderBy"]
    assert {parameter["in"] for parameter in parameters.values()} == {"query"}
    assert parameters["pageSize"]["schema"] == {
        "type": "integer",
        "format": "int32",
        "minimum": 0,
        "maximum": 200,
    }
    assert parameters["status"]["schema"] == {"$ref": "#/components/schemas/ServiceStatus"}


def test_field_rules_become_schema_bounds() -> None:
    schema = Schemas(Components({}), is_sent=True).object(keys.CreateKeyRequest.DESCRIPTOR)
    assert schema["required"] == ["name", "serviceIds"]
    properties = schema["properties"]
    patterns = [_without_pattern(properties[name]) for name in ("name", "description", "projectId")]
    items = [_without_pattern(properties[name]["items"]) for name in ("serviceIds", "allowedNetworks")]
    assert properties == {
        "name": {"type": "string", "minLength": 1, "maxLength": 80},
        "description": {"type": "string", "maxLength": 500},
        "serviceIds": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "format": "uuid"},
            "minItems": 1,
            "maxItems": 50,
        },
        "ttlDays": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 365},
        "spendCap": {"$ref": "#/components/schemas/MoneyInput"},
        "isTest": {"type": "boolean"},
        "expiresAt": {"type": "string", "format": "date-time"},
        "projectId": {"type": "string"},
        "allowedNetworks": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 43},
            "maxItems": 50,
        },
    }
    name, description, project_id = patterns
    service_id, _ = items
    an_id = "01a2265f-4bf6-7000-81bc-9df971400001"
    assert re.search(name, "a\nb") and not any(re.search(name, text) for text in ("", " ", "a\x07"))
    assert re.search(description, "") and not any(re.search(description, text) for text in (" ", "a\x07"))
    # What may be left out may be "", which is no UUID.
    assert re.search(project_id, "") and re.search(project_id, an_id) and not re.search(project_id, "7")
    assert re.search(service_id, an_id) and not any(
        re.search(service_id, text) for text in ("", an_id.upper())
    )


def _without_pattern(schema: dict[str, Any]) -> str:
    return str(schema.pop("pattern"))


def test_types_are_those_of_the_protobuf_json_mapping(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    figures = schemas["UsageFigures"]["properties"]
    assert figures["requests"] == {"type": "string", "format": "int64"}
    assert figures["meanResponseTimeMs"]["type"] == "number"
    report = schemas["UsageReport"]["properties"]
    assert report["start"] == {"type": "string", "format": "date-time"}
    assert report["points"]["items"] == {"$ref": "#/components/schemas/UsagePoint"}
    granularity = schemas["Granularity"]
    assert granularity["enum"] == ["GRANULARITY_UNSPECIFIED", "MINUTE", "HOUR", "DAY", "MONTH"]
    assert "GRANULARITY_UNSPECIFIED: DAY" in granularity["description"]


def test_a_message_whose_json_form_is_not_known_is_refused_at_the_start() -> None:
    with pytest.raises(SchemaError, match="Struct"):
        Schemas(Components({}), is_sent=False).reference(struct_pb2.Struct.DESCRIPTOR)


def test_two_types_of_one_name_are_refused_at_the_start() -> None:
    components = Components({})
    assert components.claim("Held", "a.Held")
    with pytest.raises(SchemaError, match="Held"):
        components.claim("Held", "b.Held")


def test_what_is_always_answered_is_required_and_what_may_be_left_out_is_not(
    document: dict[str, Any],
) -> None:
    schemas = document["components"]["schemas"]
    assert {"serviceId", "tags", "rateLimitPerMinute", "status"} <= set(schemas["Service"]["required"])
    # A message is left out when it isn't set.
    assert "createdAt" not in schemas["Service"]["required"]
    # The same price is sent, and then nothing has to be there but what a rule asks for.
    assert "components" in schemas["Price"]["required"]
    assert "components" not in schemas["PriceInput"].get("required", [])


def test_maps_are_objects(document: dict[str, Any]) -> None:
    details = document["components"]["schemas"]["AuditRecord"]["properties"]["details"]
    assert details["type"] == "object"
    assert details["additionalProperties"] == {"type": "string"}


def test_what_makes_something_answers_201_and_says_where_it_is(document: dict[str, Any]) -> None:
    made = operation(document, "post", "/services")["responses"]
    assert "200" not in made
    assert set(made["201"]["headers"]) >= {"location", "x-request-id", "ratelimit"}
    assert "201" not in operation(document, "post", "/auth/sign-in")["responses"]
    # What there is one of is set, not made.
    assert "201" not in operation(document, "post", "/consumer/spend-cap")["responses"]
    assert "201" not in operation(document, "post", "/services/{serviceId}:approve")["responses"]


def test_refusals_are_listed_with_their_headers(document: dict[str, Any]) -> None:
    revoke = operation(document, "post", "/keys/{keyId}:revoke")["responses"]
    assert set(revoke) >= {"200", "400", "401", "403", "404", "409", "429", "503", "default"}
    refused = document["components"]["responses"]["Problem429"]
    assert set(refused["headers"]) >= {"retry-after", "ratelimit"}


def test_idempotency_keys_are_headers_of_what_takes_them(document: dict[str, Any]) -> None:
    def headers(method: str, path: str) -> set[str]:
        parameters = operation(document, method, path).get("parameters", [])
        return {parameter["name"] for parameter in parameters if parameter["in"] == "header"}

    assert headers("post", "/keys") == {"Idempotency-Key"}
    assert headers("post", "/keys/{keyId}:revoke") == {"If-Match"}
    assert headers("post", "/access-requests/{accessRequestId}:approve") == set()


def test_the_consume_endpoint_is_described_at_the_gateways_address() -> None:
    document = openapi.build(ROUTES, "https://ams.example", "https://gateway.example")
    assert document["paths"]["/api/consume"]["servers"] == [{"url": "https://gateway.example"}]
    assert document["paths"]["/api/consume"]["post"]["operationId"] == "Consume"
    OpenAPIV31SpecValidator(document).validate()


def test_every_example_is_of_its_schema(document: dict[str, Any]) -> None:
    registry = Registry().with_resource("urn:api", Resource.from_contents(document, DRAFT202012))
    examples = list(_examples(document["paths"], "#/paths"))
    assert len(examples) > 140
    for pointer, example in examples:
        validator = OAS31Validator({"$ref": f"urn:api{pointer}/schema"}, registry=registry)
        errors = [f"{pointer}: {error.json_path} {error.message}" for error in validator.iter_errors(example)]
        assert not errors, errors


def _examples(value: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        if "example" in value and "schema" in value:
            yield pointer, value["example"]
        for name, inner in value.items():
            if name != "example":
                yield from _examples(inner, f"{pointer}/{quote(name.replace('~', '~0').replace('/', '~1'))}")
