"""What a peer's error becomes that doesn't say of itself which one it is."""

import grpc
import pytest
from ams_common.errors import from_rpc_error


@pytest.mark.parametrize(
    ("status", "code", "http_status"),
    [
        (grpc.StatusCode.UNAVAILABLE, "service_unavailable", 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline_exceeded", 504),
        # A server that sees first that the call's time is over.
        (grpc.StatusCode.CANCELLED, "deadline_exceeded", 504),
        (grpc.StatusCode.UNKNOWN, "internal", 500),
    ],
)
def test_faults_of_the_transport_have_codes_of_their_own(
    status: grpc.StatusCode, code: str, http_status: int
) -> None:
    error = from_rpc_error(
        grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(), details="a peer's text")
    )
    assert (error.code, error.http_status) == (code, http_status)
    assert "a peer's text" not in error.message
