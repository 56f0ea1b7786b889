"""OpenapiService: the documents that merchants attach to their API services."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1 import openapi_service_pb2 as pb
from ams.catalog.v1 import openapi_service_pb2_grpc as rpc
from ams.catalog.v1.openapi_pb2 import ApiReference
from ams.policy.v1.policy_pb2 import ADMIN
from ams_common.context import current_caller, current_user_id
from ams_common.database import Change
from ams_common.errors import NotFoundError
from ams_common.field_changes import field_change
from ams_common.ids import uuid7
from ams_common.interceptors import Context

from catalog_svc import documents, lifecycle, revisions
from catalog_svc.documents import Document, DocumentText, summary_message, summary_text
from catalog_svc.messages import STANDINGS
from catalog_svc.openapi.examining import MOST_S, examine
from catalog_svc.openapi.redacting import Redact, redact_reference, redactor
from catalog_svc.records import ServiceRecord, found
from catalog_svc.rpc.locked_services import answer, lock_own
from catalog_svc.rpc.open_revisions import revise
from catalog_svc.rpc.visibility import Visibility
from catalog_svc.store import Store

# What storing a document and answering take at most.
_ANSWER_S = 1.0


@dataclass(kw_only=True, eq=False)
class OpenapiService(Visibility, rpc.OpenapiServiceServicer):
    """`consume_url`: where consumers call services, with their names after it."""

    consume_url: str

    async def SetOpenapiDocument(
        self, request: pb.SetOpenapiDocumentRequest, context: Context
    ) -> catalog_pb.Service:
        # Whose service it is first: nobody else's document is worth a second of work.
        async with self.database.read() as store:
            _check(await self._find(store, request.service_id, current_user_id()))
        # Rather a word in time than none.
        remaining_s = context.time_remaining()
        within_s = MOST_S if remaining_s is None else min(MOST_S, remaining_s - _ANSWER_S)
        examined = await examine(request.content, within_s)
        now = self.clock()
        async with self.database.change() as change:
            record = await lock_own(change, request.service_id, now, request.etag)
            _check(record)
            document = documents.new_document(uuid7(), examined, record.base_url, now)
            await change.store.insert_document(
                record.service_id, document, request.content, examined, record.base_url
            )
            return await _put(change, record, document, now)

    async def DeleteOpenapiDocument(
        self, request: pb.DeleteOpenapiDocumentRequest, context: Context
    ) -> catalog_pb.Service:
        now = self.clock()
        async with self.database.change() as change:
            record = await lock_own(change, request.service_id, now, request.etag)
            _check(record)
            waiting = await change.store.find_open_revision(service_id=record.service_id)
            documents.check_has_one((waiting and waiting.document) or record.document)
            # What only waits goes first; what there is, once an admin has approved.
            stays = record.document if waiting is not None and waiting.document is not None else None
            return await _put(change, record, stays, now)

    async def GetOpenapiDocument(
        self, request: pb.GetOpenapiDocumentRequest, context: Context
    ) -> pb.OpenapiDocument:
        owner_id = None if ADMIN in current_caller().roles else current_user_id()
        async with self.database.read() as store:
            record = await self._find(store, request.service_id, owner_id)
            if not request.is_proposed:
                document = documents.check_has_one(record.document)
                return self._own(record, document, await _text(store, document))
            waiting = await store.find_open_revision(service_id=record.service_id)
            document = documents.check_has_one(waiting.document if waiting is not None else None)
            message = self._own(record, document, await _text(store, document))
            before = ApiReference()
            if record.document is not None:
                before = self._own(record, record.document, await _text(store, record.document)).reference
        message.changes.extend(documents.operation_changes(before, message.reference))
        return message

    async def GetMarketplaceOpenapiDocument(
        self, request: pb.GetMarketplaceOpenapiDocumentRequest, context: Context
    ) -> pb.OpenapiDocument:
        record, document, text = await self._find_public(request.service)
        redact = self._redactor(record)
        message = _document(text, document, redact(text.public_content), "application/json")
        redact_reference(message.reference, redact)
        return message

    async def GetApiReference(self, request: pb.GetApiReferenceRequest, context: Context) -> ApiReference:
        record, document, text = await self._find_public(request.service)
        reference = _reference(text, document)
        if request.operation_id:
            chosen = [each for each in reference.operations if each.operation_id == request.operation_id]
            if not chosen:
                raise NotFoundError("operation_not_found", "There is no such operation.")
            del reference.operations[:]
            reference.operations.extend(chosen)
        if request.is_outline:
            for operation in reference.operations:
                for field in ("description", "parameters", "request_body", "responses"):
                    operation.ClearField(field)
        redact_reference(reference, self._redactor(record))
        return reference

    async def _find(self, store: Store, service_id: str, owner_id: UUID | None) -> ServiceRecord:
        return found(
            await store.find_service(service_id=UUID(service_id), owner_id=owner_id, now=self.clock())
        )

    async def _find_public(self, service: str) -> tuple[ServiceRecord, Document, DocumentText]:
        """A service of the marketplace that the caller sees, with its document."""
        record = await self.find_visible(service)
        document = documents.check_has_one(record.document)
        async with self.database.read() as store:
            return record, document, await _text(store, document)

    def _own(self, record: ServiceRecord, document: Document, text: DocumentText) -> pb.OpenapiDocument:
        """The document as it was given, and as consumers would see it."""
        message = _document(text, document, text.content, text.media_type)
        redact_reference(message.reference, self._redactor(record))
        return message

    def _redactor(self, record: ServiceRecord) -> Redact:
        return redactor([record.base_url], f"{self.consume_url}/{record.slug}")


def _check(record: ServiceRecord) -> None:
    """Raises what refuses a service another document."""
    lifecycle.check_merchant_acts(STANDINGS[record.merchant_standing])
    documents.check_is_for(record.type)
    lifecycle.check_changeable(record, frozenset())


async def _put(
    change: Change[Store],
    record: ServiceRecord,
    document: Document | None,
    now: datetime,
) -> catalog_pb.Service:
    """Gives the service the document, None for none: in the marketplace once an admin has approved."""
    waiting = await change.store.find_open_revision(service_id=record.service_id)
    before = record.document
    if record.status == lifecycle.ACTIVE:
        wanted = replace(
            revisions.wanted_by(waiting, record),
            changes_document=document != before,
            document=document if document != before else None,
        )
        await revise(change, record, waiting, wanted, now)
    else:
        record = replace(record, document=document, updated_at=now)
        await change.store.save_service(record)
    await change.store.delete_unused_documents(service_id=record.service_id)
    texts = [summary_text(summary_message(each)) if each is not None else "" for each in (before, document)]
    change.audit("service", record.service_id, [field_change(revisions.DOCUMENT, *texts)])
    return await answer(change.store, record)


async def _text(store: Store, document: Document) -> DocumentText:
    return documents.check_has_one(await store.find_document_text(document_id=document.document_id))


def _document(text: DocumentText, document: Document, content: str, media_type: str) -> pb.OpenapiDocument:
    return pb.OpenapiDocument(media_type=media_type, content=content, reference=_reference(text, document))


def _reference(text: DocumentText, document: Document) -> ApiReference:
    reference = ApiReference.FromString(text.reference)
    reference.document.CopyFrom(summary_message(document))
    return reference
