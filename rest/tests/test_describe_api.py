from typing import Any

import pytest
from ams.keys.v1 import keys_service_pb2 as keys
from ams.usage.v1 import usage_service_pb2 as usage
from ams_rest import comments, openapi
from ams_rest.areas import AREAS
from ams_rest.routes import RouteTable, routes_of
from ams_rest.schemas import SchemaError, Schemas
from google.protobuf import struct_pb2
from openapi_spec_validator import OpenAPIV31SpecValidator

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
        for operations in document["paths"].values()
        for method, operation in operations.items()
    ]
    assert sorted(described) == sorted((route.http_method.lower(), route.rpc.name) for route in ROUTES)


def test_every_operation_has_the_comment_of_its_rpc(document: dict[str, Any]) -> None:
    told = comments.load()
    approve = operation(document, "post", "/services/{serviceId}:approve")
    assert approve["description"] == "PENDING_APPROVAL → ACTIVE; its price starts now. For admin."
    with_comment = [route for route in ROUTES if route.rpc.full_name in told]
    assert len(with_comment) > 30
    texts = [op["description"] for ops in document["paths"].values() for op in ops.values()]
    assert all(any(told[r.rpc.full_name] in text for text in texts) for r in with_comment)


def test_public_calls_need_no_token_and_all_others_do(document: dict[str, Any]) -> None:
    for route in ROUTES:
        path = openapi.path_of(route).removeprefix("/api/v1")
        described = operation(document, route.http_method.lower(), path)
        assert described["security"] == ([] if route.rule.public else [{"bearer": []}])


def test_where_a_merchants_api_lies_is_in_no_answer_that_everybody_gets(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert "baseUrl" in schemas["ams.catalog.v1.Service"]["properties"]
    assert "baseUrl" not in schemas["ams.catalog.v1.MarketplaceService"]["properties"]


def test_path_fields_are_parameters_and_not_in_the_body(document: dict[str, Any]) -> None:
    update = operation(document, "patch", "/services/{serviceId}")
    [parameter] = update["parameters"]
    assert (parameter["name"], parameter["in"], parameter["required"]) == ("serviceId", "path", True)
    assert parameter["schema"]["format"] == "uuid"
    schema = update["requestBody"]["content"]["application/json"]["schema"]
    assert "serviceId" not in schema["properties"]
    assert schema["required"] == ["updateMask"]
    assert schema["additionalProperties"] is False


def test_the_fields_of_a_get_are_query_parameters(document: dict[str, Any]) -> None:
    listed = operation(document, "get", "/services")
    assert "requestBody" not in listed
    parameters = {parameter["name"]: parameter for parameter in listed["parameters"]}
    assert list(parameters) == ["pageSize", "pageToken", "status", "merchantId", "query", "orderBy"]
    assert {parameter["in"] for parameter in parameters.values()} == {"query"}
    assert parameters["pageSize"]["schema"] == {
        "type": "integer",
        "format": "int32",
        "minimum": 0,
        "maximum": 200,
    }
    assert parameters["status"]["schema"] == {"$ref": "#/components/schemas/ams.catalog.v1.ServiceStatus"}


def test_field_rules_become_schema_bounds() -> None:
    schema = Schemas({}).object(keys.CreateKeyRequest.DESCRIPTOR)
    assert schema["required"] == ["name", "serviceIds"]
    assert schema["properties"] == {
        "name": {"type": "string", "minLength": 1, "maxLength": 80},
        "description": {"type": "string", "maxLength": 500},
        "serviceIds": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "format": "uuid"},
            "minItems": 1,
            "maxItems": 50,
        },
        "ttlDays": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 365},
        "idempotencyKey": {"type": "string", "maxLength": 64},
        "spendCap": {"$ref": "#/components/schemas/google.type.Money"},
        "isTest": {"type": "boolean"},
        "expiresAt": {"type": "string", "format": "date-time"},
        "projectId": {"type": "string", "format": "uuid"},
        "allowedNetworks": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 43},
            "maxItems": 50,
        },
    }


def test_types_are_those_of_the_protobuf_json_mapping(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    figures = schemas[usage.UsageFigures.DESCRIPTOR.full_name]["properties"]
    assert figures["requests"] == {"type": "string", "format": "int64"}
    assert figures["meanResponseTimeMs"]["type"] == "number"
    report = schemas[usage.UsageReport.DESCRIPTOR.full_name]["properties"]
    assert report["start"] == {"type": "string", "format": "date-time"}
    assert report["points"]["items"] == {"$ref": "#/components/schemas/ams.usage.v1.UsagePoint"}
    granularity = schemas["ams.usage.v1.Granularity"]
    assert granularity["enum"] == ["GRANULARITY_UNSPECIFIED", "MINUTE", "HOUR", "DAY", "MONTH"]
    assert "GRANULARITY_UNSPECIFIED: DAY" in granularity["description"]


def test_a_message_whose_json_form_is_not_known_is_refused_at_the_start() -> None:
    with pytest.raises(SchemaError, match="Struct"):
        Schemas({}).reference(struct_pb2.Struct.DESCRIPTOR)
