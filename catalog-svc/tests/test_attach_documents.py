"""An OpenAPI document of a service: attached, replaced, taken away, and read by those who see the service."""

import json

import grpc
import pytest
from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1 import openapi_service_pb2 as openapi_pb
from ams.catalog.v1 import revision_service_pb2 as revision_pb
from ams.catalog.v1.events_pb2 import DOCKER
from ams.catalog.v1.metadata_pb2 import PRIVATE
from ams.catalog.v1.openapi_pb2 import OPERATION_ADDED, OPERATION_CHANGED, OPERATION_REMOVED, ApiReference
from ams.identity.v1.events_pb2 import STANDING_SUSPENDED
from ams_common.errors import from_rpc_error
from ams_common.ids import uuid7
from catalog_svc.testing import CONSUME_URL, Caller, Catalog

HOST = "api.example.com"
DOCUMENT = """\
openapi: 3.1.0
info: {title: Places, version: "7"}
servers:
  - {url: https://api.example.com/v1}
  - {url: "https://{area}.spare.example", variables: {area: {default: eu}}}
paths:
  /cities/{code}:
    servers: [{url: https://api.example.com/v1}]
    parameters:
      - {name: code, in: path, required: true, schema: {type: string, enum: [ZRH, BSL]}, example: ZRH}
    get:
      summary: Look up a municipality
      description: As https://API.example.com/v1/cities or http://eu.spare.example:8443/x would tell.
      tags: [Lookup]
      responses:
        200:
          description: Found
          content:
            application/json:
              schema: {$ref: "#/components/schemas/City"}
              example: {name: Zürich}
  /cities:
    post:
      deprecated: true
      requestBody:
        {required: true, content: {application/json: {schema: {$ref: "#/components/schemas/City"}}}}
      responses: {default: {description: Taken}}
components:
  schemas:
    City:
      type: object
      required: [name]
      properties:
        name: {type: string, maxLength: 80, description: What people call it}
        parts: {type: array, items: {$ref: "#/components/schemas/City"}}
"""
OTHER = """\
{"openapi": "3.0.3", "info": {"title": "Places", "version": "8"}, "paths": {
  "/cities": {"post": {"summary": "Add one", "responses": {"200": {"description": "Taken"}}}},
  "/rivers": {"get": {"responses": {"200": {"description": "All"}}}}}}
"""


async def attach(
    catalog: Catalog, merchant: Caller, service_id: str, content: str = DOCUMENT, etag: str = ""
) -> pb.Service:
    return await catalog.attach_document(merchant, service_id, content, etag)


async def remove(catalog: Catalog, merchant: Caller, service_id: str) -> pb.Service:
    request = openapi_pb.DeleteOpenapiDocumentRequest(service_id=service_id)
    return await merchant.call(catalog.openapi.DeleteOpenapiDocument, request)


async def reference(catalog: Catalog, caller: Caller, service: str, **fields: object) -> ApiReference:
    request = openapi_pb.GetApiReferenceRequest(service=service, **fields)  # type: ignore[arg-type]
    return await caller.call(catalog.openapi.GetApiReference, request)


async def published(catalog: Catalog, merchant: Caller) -> pb.Service:
    """A service in the marketplace with DOCUMENT."""
    draft = await catalog.create(merchant)
    await attach(catalog, merchant, draft.service_id)
    await merchant.call(catalog.stub.SubmitService, pb.SubmitServiceRequest(service_id=draft.service_id))
    return await catalog.admin().call(
        catalog.stub.ApproveService, pb.ApproveServiceRequest(service_id=draft.service_id)
    )


async def approve(catalog: Catalog, service: pb.Service) -> None:
    request = revision_pb.ApproveRevisionRequest(
        service_id=service.service_id,
        revision_id=service.revision.revision_id,
        version=service.revision.version,
    )
    await catalog.admin().call(catalog.revisions.ApproveRevision, request)


async def test_a_draft_gets_its_document_at_once_as_it_was_given(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    draft = await catalog.create(merchant)
    changed = await attach(catalog, merchant, draft.service_id)
    summary = changed.openapi_document
    assert (summary.title, summary.version, summary.openapi_version) == ("Places", "7", "3.1.0")
    assert summary.operation_count == 2
    for reader in (merchant, catalog.admin()):
        request = openapi_pb.GetOpenapiDocumentRequest(service_id=draft.service_id)
        got = await reader.call(catalog.openapi.GetOpenapiDocument, request)
        assert got.content == DOCUMENT
        assert got.media_type == "application/yaml"
        assert [each.operation_id for each in got.reference.operations] == ["get-cities-code", "post-cities"]
    assert (str(merchant.user_id), "service.set_openapi_document", "service", draft.service_id) in [
        (actor.removeprefix("user:"), *rest) for actor, *rest in await catalog.audits()
    ]


async def test_the_reference_tells_what_a_call_takes_and_answers(catalog: Catalog) -> None:
    service = await published(catalog, await catalog.known_merchant())
    shown = await reference(catalog, catalog.nobody(), service.slug)
    look_up, add = shown.operations
    assert (look_up.method, look_up.path, look_up.tag) == ("GET", "/cities/{code}", "Lookup")
    assert look_up.summary == "Look up a municipality"
    [code] = look_up.parameters
    assert (code.name, code.location, code.is_required, code.example) == ("code", "path", True, "ZRH")
    assert code.type == "string, one of ZRH, BSL"
    [found] = look_up.responses
    lines = [(line.depth, line.name, line.type, line.is_required) for line in found.contents[0].shape]
    assert lines == [
        (0, "", "object", False),
        (1, "name", "string, at most 80 characters", True),
        (1, "parts", "list of City", False),
    ]
    assert json.loads(found.contents[0].example) == {"name": "Zürich"}
    assert add.is_deprecated
    assert add.request_body.is_required
    assert [line.name for line in add.request_body.contents[0].shape] == ["", "name", "parts"]
    assert add.responses[0].status == "default"


async def test_an_outline_and_one_operation_can_be_asked_for(catalog: Catalog) -> None:
    service = await published(catalog, await catalog.known_merchant())
    outline = await reference(catalog, catalog.nobody(), service.slug, is_outline=True)
    assert [each.summary for each in outline.operations] == ["Look up a municipality", ""]
    assert not any(each.parameters or each.responses or each.description for each in outline.operations)
    one = await reference(catalog, catalog.nobody(), service.slug, operation_id="post-cities")
    assert [each.path for each in one.operations] == ["/cities"]
    request = openapi_pb.GetApiReferenceRequest(service=service.slug, operation_id="get-nothing")
    refused = await catalog.nobody().error(catalog.openapi.GetApiReference, request)
    assert refused.code == "operation_not_found"


async def test_nothing_that_is_public_says_where_the_api_lies(catalog: Catalog) -> None:
    service = await published(catalog, await catalog.known_merchant())
    nobody = catalog.nobody()
    document = await nobody.call(
        catalog.openapi.GetMarketplaceOpenapiDocument,
        openapi_pb.GetMarketplaceOpenapiDocumentRequest(service=service.service_id),
    )
    got = await nobody.call(
        catalog.stub.GetMarketplaceService, pb.GetMarketplaceServiceRequest(service=service.slug)
    )
    shown = await reference(catalog, nobody, service.slug)
    for text in map(str, (document, got, shown)):
        assert HOST not in text.lower()
        assert "spare.example" not in text.lower()
    parsed = json.loads(document.content)
    address = f"{CONSUME_URL}/{service.slug}"
    assert parsed["servers"] == [{"url": address}]
    assert "servers" not in parsed["paths"]["/cities/{code}"]
    assert f"As {address}/cities or {address}/x" in parsed["paths"]["/cities/{code}"]["get"]["description"]
    assert f"As {address}/cities or" in shown.operations[0].description


async def test_an_address_that_the_service_gets_later_is_hidden_too(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    draft = await catalog.create(merchant)
    await attach(
        catalog,
        merchant,
        draft.service_id,
        DOCUMENT.replace("As https", "As https://new.example.org/a, https"),
    )
    request = pb.UpdateServiceRequest(service_id=draft.service_id, base_url="https://new.example.org/a")
    request.update_mask.paths.append("base_url")
    await merchant.call(catalog.stub.UpdateService, request)
    await merchant.call(catalog.stub.SubmitService, pb.SubmitServiceRequest(service_id=draft.service_id))
    await catalog.admin().call(
        catalog.stub.ApproveService, pb.ApproveServiceRequest(service_id=draft.service_id)
    )
    shown = await reference(catalog, catalog.nobody(), draft.slug)
    assert "new.example.org" not in str(shown)


async def test_a_live_service_keeps_its_document_until_an_admin_has_approved(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await published(catalog, merchant)
    changed = await attach(catalog, merchant, service.service_id, OTHER)
    assert changed.openapi_document.version == "7"
    [change] = changed.revision.changes
    assert change.field == "openapi_document"
    assert change.before.startswith("Places 7, 2 operations")
    assert change.after.startswith("Places 8, 2 operations")
    request = openapi_pb.GetOpenapiDocumentRequest(service_id=service.service_id, is_proposed=True)
    proposed = await catalog.admin().call(catalog.openapi.GetOpenapiDocument, request)
    assert [(each.method, each.path, each.difference) for each in proposed.changes] == [
        ("POST", "/cities", OPERATION_CHANGED),
        ("GET", "/rivers", OPERATION_ADDED),
        ("GET", "/cities/{code}", OPERATION_REMOVED),
    ]
    before = await reference(catalog, catalog.nobody(), service.slug)
    assert before.document.version == "7"
    await approve(catalog, changed)
    after = await reference(catalog, catalog.nobody(), service.slug)
    assert after.document.version == "8"
    # The one before is gone, and what was decided still says what it changed.
    assert len(await catalog.rows("SELECT FROM openapi_documents")) == 1
    history = await merchant.call(
        catalog.revisions.ListServiceRevisions,
        revision_pb.ListServiceRevisionsRequest(service_id=service.service_id),
    )
    assert history.revisions[0].changes[0].after.startswith("Places 8")


async def test_a_document_and_another_change_wait_in_one_revision(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await published(catalog, merchant)
    await attach(catalog, merchant, service.service_id, OTHER)
    request = pb.UpdateServiceRequest(service_id=service.service_id, description="Other words")
    request.update_mask.paths.append("description")
    changed = await merchant.call(catalog.stub.UpdateService, request)
    assert {each.field for each in changed.revision.changes} == {"description", "openapi_document"}
    # What waits goes first, and the other change stays.
    changed = await remove(catalog, merchant, service.service_id)
    assert {each.field for each in changed.revision.changes} == {"description"}
    assert changed.openapi_document.version == "7"
    changed = await remove(catalog, merchant, service.service_id)
    [_, change] = sorted(changed.revision.changes, key=lambda each: each.field)
    assert (change.before[:8], change.after) == ("Places 7", "")
    await approve(catalog, changed)
    request = openapi_pb.GetApiReferenceRequest(service=service.slug)  # type: ignore[assignment]
    refused = await catalog.nobody().error(catalog.openapi.GetApiReference, request)
    assert refused.code == "openapi_document_not_found"
    assert not await catalog.rows("SELECT FROM openapi_documents")


async def test_a_document_that_waits_is_replaced_by_another(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await published(catalog, merchant)
    await attach(catalog, merchant, service.service_id, OTHER)
    changed = await attach(catalog, merchant, service.service_id, OTHER.replace('"8"', '"9"'))
    assert changed.revision.version == 2
    assert changed.revision.changes[0].after.startswith("Places 9")
    versions = await catalog.rows("SELECT version FROM openapi_documents ORDER BY version")
    assert [row["version"] for row in versions] == ["7", "9"]


async def test_a_rejected_document_is_gone(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await published(catalog, merchant)
    changed = await attach(catalog, merchant, service.service_id, OTHER)
    request = revision_pb.RejectRevisionRequest(
        service_id=service.service_id,
        revision_id=changed.revision.revision_id,
        version=changed.revision.version,
        reason="Rivers are another service",
    )
    await catalog.admin().call(catalog.revisions.RejectRevision, request)
    assert [row["version"] for row in await catalog.rows("SELECT version FROM openapi_documents")] == ["7"]


async def test_a_service_that_changed_meanwhile_gets_no_document(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    service = await published(catalog, merchant)
    changed = await attach(catalog, merchant, service.service_id, OTHER)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await attach(catalog, merchant, service.service_id, etag=service.etag)
    assert from_rpc_error(refused.value).code == "etag_mismatch"
    again = await attach(catalog, merchant, service.service_id, etag=changed.etag)
    assert again.etag != changed.etag


async def test_only_its_merchant_changes_a_document(catalog: Catalog) -> None:
    owner, other = await catalog.known_merchant(), await catalog.known_merchant("Other")
    draft = await catalog.create(owner)
    await attach(catalog, owner, draft.service_id)
    before = await catalog.state()
    setting = openapi_pb.SetOpenapiDocumentRequest(service_id=draft.service_id, content=OTHER)
    assert (await other.error(catalog.openapi.SetOpenapiDocument, setting)).code == "service_not_found"
    deleting = openapi_pb.DeleteOpenapiDocumentRequest(service_id=draft.service_id)
    assert (await other.error(catalog.openapi.DeleteOpenapiDocument, deleting)).code == "service_not_found"
    getting = openapi_pb.GetOpenapiDocumentRequest(service_id=draft.service_id)
    assert (await other.error(catalog.openapi.GetOpenapiDocument, getting)).code == "service_not_found"
    assert (
        await catalog.consumer().error(catalog.openapi.GetOpenapiDocument, getting)
    ).code == "role_required"
    for unknown, code in ((str(uuid7()), "service_not_found"), ("no-id", "invalid_argument")):
        setting.service_id = unknown
        assert (await owner.error(catalog.openapi.SetOpenapiDocument, setting)).code == code
    assert await catalog.state() == before


async def test_a_draft_and_a_private_service_show_theirs_to_nobody_else(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    draft = await catalog.create(merchant)
    await attach(catalog, merchant, draft.service_id)
    private = await catalog.create(merchant, name="Hidden", visibility=PRIVATE)
    await attach(catalog, merchant, private.service_id)
    await merchant.call(catalog.stub.SubmitService, pb.SubmitServiceRequest(service_id=private.service_id))
    await catalog.admin().call(
        catalog.stub.ApproveService, pb.ApproveServiceRequest(service_id=private.service_id)
    )
    for service in (draft, private):
        asked = openapi_pb.GetApiReferenceRequest(service=service.slug)
        refused = await catalog.nobody().error(catalog.openapi.GetApiReference, asked)
        assert refused.code == "service_not_found"
        whole = openapi_pb.GetMarketplaceOpenapiDocumentRequest(service=service.service_id)
        refused = await catalog.nobody().error(catalog.openapi.GetMarketplaceOpenapiDocument, whole)
        assert refused.code == "service_not_found"
    assert (await reference(catalog, merchant, private.slug)).document.title == "Places"


async def test_a_suspended_merchant_attaches_nothing(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    draft = await catalog.create(merchant)
    await attach(catalog, merchant, draft.service_id)
    await catalog.tell_merchant(merchant, standing=STANDING_SUSPENDED, version=1)
    before = await catalog.state()
    setting = openapi_pb.SetOpenapiDocumentRequest(service_id=draft.service_id, content=OTHER)
    assert (await merchant.error(catalog.openapi.SetOpenapiDocument, setting)).code == "merchant_suspended"
    deleting = openapi_pb.DeleteOpenapiDocumentRequest(service_id=draft.service_id)
    assert (
        await merchant.error(catalog.openapi.DeleteOpenapiDocument, deleting)
    ).code == "merchant_suspended"
    assert await catalog.state() == before


async def test_images_and_services_that_wait_take_none(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    image = await catalog.create(merchant, type=DOCKER, base_url="")
    setting = openapi_pb.SetOpenapiDocumentRequest(service_id=image.service_id, content=OTHER)
    refused = await merchant.error(catalog.openapi.SetOpenapiDocument, setting)
    assert refused.code == "openapi_document_not_for_images"
    waiting = await catalog.submit(merchant)
    setting.service_id = waiting.service_id
    assert (await merchant.error(catalog.openapi.SetOpenapiDocument, setting)).code == "service_not_editable"
    draft = await catalog.create(merchant)
    deleting = openapi_pb.DeleteOpenapiDocumentRequest(service_id=draft.service_id)
    refused = await merchant.error(catalog.openapi.DeleteOpenapiDocument, deleting)
    assert refused.code == "openapi_document_not_found"


async def test_a_service_is_found_by_what_its_operations_do(catalog: Catalog) -> None:
    merchant = await catalog.known_merchant()
    described = await published(catalog, merchant)
    named = await catalog.publish(merchant, name="Municipality names")

    async def found(query: str) -> list[str]:
        request = pb.ListMarketplaceServicesRequest(query=query)
        answer = await catalog.nobody().call(catalog.stub.ListMarketplaceServices, request)
        return [service.service_id for service in answer.services]

    # By a summary's word and its stem, by a path's; the name counts most.
    assert await found("municipalities") == [named.service_id, described.service_id]
    assert await found("cities") == [described.service_id]
    for hidden in ("spare", HOST):
        assert described.service_id not in await found(hidden)
    await approve(catalog, await remove(catalog, merchant, described.service_id))
    assert await found("municipality") == [named.service_id]


@pytest.mark.parametrize("content", ["", "openapi: 3.1.0"])
async def test_what_is_refused_names_the_field(catalog: Catalog, content: str) -> None:
    merchant = await catalog.known_merchant()
    draft = await catalog.create(merchant)
    before = await catalog.state()
    request = openapi_pb.SetOpenapiDocumentRequest(service_id=draft.service_id, content=content)
    refused = await merchant.error(catalog.openapi.SetOpenapiDocument, request)
    assert refused.violations[0].field == "content"
    assert await catalog.state() == before
