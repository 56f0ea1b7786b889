"""BatchGetKeyNames: what consumers call their keys, for usage-svc's reports."""

from typing import Any

import pytest
from ams.keys.v1 import keys_service_pb2 as pb
from ams.keys.v1 import keys_service_pb2_grpc as rpc
from ams_common.client import invoke
from ams_common.errors import InvalidArgumentError
from ams_common.ids import uuid7
from ams_common.testing.tokens import TestIssuer


async def test_names_of_many_keys_come_in_one_call(
    channel: Any, issuer: TestIssuer, consumer: Any, outsider: Any, new_key: Any
) -> None:
    made = [(await new_key(each)).key for each in (consumer, outsider)]
    stub, token = rpc.KeysServiceStub(channel), issuer.service_token("usage-svc")

    async def names(*key_ids: str) -> dict[str, str]:
        request = pb.BatchGetKeyNamesRequest(key_ids=key_ids)
        answer = await invoke(stub.BatchGetKeyNames, request, token=token)
        return {each.key_id: each.name for each in answer.keys}

    wanted = {key.key_id: key.name for key in made}
    assert await names(*wanted, str(uuid7())) == wanted
    with pytest.raises(InvalidArgumentError):
        await names("no-id")
