from datetime import datetime
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams_common.orders import Orders
from ams_common.paging import encode_page_token
from ams_common.server import MAX_MESSAGE_BYTES
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["IdentityService"]
MEGABYTE = "x" * 1_000_000
TEXTS = [MEGABYTE, "\x00", "' OR 1=1 --", "\u202e\u0000\u2028", "💥" * 40, "%s{}${jndi:x}", "-1"]


def filled(request_type: type[Message], text: str) -> Message:
    """A request with `text` in each of its strings."""
    request = request_type()
    for field in request.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_STRING and field.is_repeated:
            getattr(request, field.name).append(text)
        elif field.type == FieldDescriptor.TYPE_STRING:
            setattr(request, field.name, text)
    return request


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_no_text_is_an_internal_error(identity: Any, text: str) -> None:
    for method in DESCRIPTOR.methods:
        request_type, answer_type = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        call = identity.channel.unary_unary(
            f"/{DESCRIPTOR.full_name}/{method.name}", request_type.SerializeToString, answer_type.FromString
        )
        try:
            await call(filled(request_type, text), metadata=identity.admin)
        except grpc.aio.AioRpcError as error:
            assert error.code() not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN), method.name
            size_bytes = filled(request_type, text).ByteSize()
            if text is MEGABYTE and size_bytes > 0:
                # What is more than the server takes at all is refused before it is parsed.
                is_parsed = size_bytes <= MAX_MESSAGE_BYTES
                codes = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
                assert error.code() is codes[is_parsed], method.name


@pytest.mark.parametrize("token", ["x", "W10", "AAAA", "eyJhIjoxfQ", "8J+SpQ", "WyIyMDI2IiwiMSJd"])
async def test_made_up_page_tokens_are_refused(identity: Any, token: str) -> None:
    for name in ("Invites", "Merchants", "Consumers", "AuditRecords"):
        request = getattr(pb, f"List{name}Request")(page_token=token)
        error = await identity.error_of(
            getattr(identity.stub, f"List{name}")(request, metadata=identity.admin)
        )
        assert (error.grpc_code, error.code) == (grpc.StatusCode.INVALID_ARGUMENT, "page_token_invalid")


@pytest.mark.parametrize("page_size", [-1, 201, 2**31 - 1])
async def test_page_sizes_have_bounds(identity: Any, page_size: int) -> None:
    request = pb.ListInvitesRequest(page_size=page_size)
    error = await identity.error_of(identity.stub.ListInvites(request, metadata=identity.admin))
    assert error.grpc_code is grpc.StatusCode.INVALID_ARGUMENT


async def test_bytes_that_are_no_request_are_refused(identity: Any) -> None:
    call = identity.channel.unary_unary(f"/{DESCRIPTOR.full_name}/StartSignIn")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"\xff\xff\xff\xff", timeout=10)
    assert "Traceback" not in (refused.value.details() or "")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
async def test_page_tokens_from_the_ends_of_time_are_no_internal_errors(identity: Any, moment: str) -> None:
    order = Orders.parse([("created_at desc", "timestamptz created_at, uuid invite_id")]).choose("")
    token = encode_page_token(order, [datetime.fromisoformat(moment), UUID(int=0)])
    request = pb.ListInvitesRequest(page_token=token)
    try:
        await identity.stub.ListInvites(request, metadata=identity.admin)
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
