"""Keys, and consumers of a service, say which state they are in, and are changed only from the one that was
seen."""

from collections.abc import Mapping
from typing import Any

import pytest
from ams.keys.v1 import (
    exposures_service_pb2,
    grants_service_pb2,
    key_settings_service_pb2,
    keys_service_pb2,
    service_consumers_service_pb2,
)
from ams.keys.v1.events_pb2 import CallRule
from ams.keys.v1.service_consumers_service_pb2 import ConsumerLimits
from ams_common.errors import NotFoundError
from ams_common.pseudonyms import Pseudonyms
from ams_common.testing.etags import STALE, assert_obeyed, error_of, rpcs_about_etags, takes_etag
from google.type.money_pb2 import Money
from keys_svc.testing import Team

SERVICES = [
    service
    for module in (
        *(exposures_service_pb2, grants_service_pb2, key_settings_service_pb2, keys_service_pb2),
        service_consumers_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
]
# They make what they answer with: nobody has seen it before.
CREATIONS = {"CreateKey"}
# What each is asked with.
CASES: Mapping[str, Mapping[str, Any]] = {
    "UpdateKey": {"name": "new", "description": "newer"},
    "SetKeyServices": {},
    "SetAllowedNetworks": {"allowed_networks": ["192.0.2.0/24"]},
    "SetAllowedCalls": {"allowed_calls": [CallRule(path="/v1/*")]},
    "DisableKey": {},
    "EnableKey": {},
    "RotateKey": {"overlap_minutes": 60},
    "EndPreviousSecret": {},
    "RevokeKey": {},
    "SetKeySpendCap": {"amount": Money(currency_code="EUR", units=5)},
    "SetProjectSpendCap": {"amount": Money(currency_code="EUR", units=5)},
    "BlockServiceConsumer": {"reason": "scrapes"},
    "UnblockServiceConsumer": {},
    "SetServiceConsumerLimits": {"limits": ConsumerLimits(per_minute=5)},
    "EndServiceConsumerAccess": {"reason": "over"},
}
BY_MERCHANTS = {rpc for rpc in CASES if "ServiceConsumer" in rpc}


class Case:
    """A key, or a consumer of a service, in the state that an RPC needs, and those who call."""

    def __init__(self, rpc: str, caller: Any, outsider: Any, **fields: Any) -> None:
        self.rpc, self.caller, self.outsider = rpc, caller, outsider
        self._fields = {**CASES[rpc], **fields}

    async def read(self) -> Any:
        if self.rpc in BY_MERCHANTS:
            listed = await self.caller("ListServiceConsumers", service_id=self._fields["service_id"])
            return listed.consumers[0]
        if self.rpc == "SetProjectSpendCap":
            return await self.caller("GetProjectSpendCap", project_id=self._fields["project_id"])
        return await self.caller("GetKey", key_id=self._fields["key_id"])

    async def change(self, etag: str, caller: Any = None) -> Any:
        return await (caller or self.caller)(self.rpc, **self._fields, etag=etag)


@pytest.fixture(params=CASES)
async def case(
    request: pytest.FixtureRequest,
    consumer: Any,
    outsider: Any,
    merchant: Any,
    other_merchant: Any,
    new_key: Any,
    grant: Any,
    pseudonyms: Pseudonyms,
    team: Team,
) -> Case:
    if request.param == "SetProjectSpendCap":
        return Case(request.param, team.owner, outsider, project_id=str(team.project_id))
    if request.param in BY_MERCHANTS:
        sold = {
            "service_id": await grant(consumer, merchant_id=merchant.user_id),
            "consumer": pseudonyms.of_consumer(merchant.user_id, consumer.user_id),
        }
        if request.param == "UnblockServiceConsumer":
            await merchant("BlockServiceConsumer", **sold)
        return Case(request.param, merchant, other_merchant, **sold)
    key = (await new_key(consumer)).key
    more: dict[str, Any] = {}
    match request.param:
        case "SetKeyServices":
            more = {"service_ids": [await grant(consumer)]}
        case "SetAllowedCalls":
            more = {"service_id": key.service_ids[0]}
        case "EnableKey":
            await consumer("DisableKey", key_id=key.key_id)
        case "EndPreviousSecret":
            await consumer("RotateKey", key_id=key.key_id, overlap_minutes=60)
    return Case(request.param, consumer, outsider, key_id=key.key_id, **more)


def test_every_rpc_that_changes_what_has_an_etag_takes_it_and_is_shown_to_obey() -> None:
    rpcs = [rpc for service in SERVICES for rpc in service.methods]
    assert {rpc.name for rpc in rpcs if takes_etag(rpc)} == set(CASES)
    assert rpcs_about_etags(SERVICES) - CREATIONS == set(CASES)


async def test_of_twenty_at_once_one_changes_it_and_is_told_its_new_etag(case: Case) -> None:
    answer = await assert_obeyed(case.read, case.change)
    after = await case.read()
    resource = answer.key if case.rpc == "RotateKey" else answer
    assert resource == after


async def test_without_an_etag_it_is_changed_whatever_it_is(case: Case) -> None:
    before = await case.read()
    await case.change("")
    assert (await case.read()).etag != before.etag


async def test_to_others_an_etag_tells_nothing(case: Case) -> None:
    etag = (await case.read()).etag
    refused = [await error_of(case.change(given, case.outsider)) for given in (etag, STALE, "")]
    codes = dict.fromkeys(BY_MERCHANTS, "consumer_not_found") | {"SetProjectSpendCap": "project_not_found"}
    code = codes.get(case.rpc, "key_not_found")
    assert {(type(error), error.code) for error in refused} == {(NotFoundError, code)}


async def test_lists_say_the_same_etags_as_the_keys_themselves(consumer: Any, new_key: Any) -> None:
    keys = [(await new_key(consumer)).key for _ in range(3)]
    await consumer("DisableKey", key_id=keys[0].key_id)
    listed = {key.key_id: key.etag for key in (await consumer("ListKeys")).keys}
    read = {key.key_id: (await consumer("GetKey", key_id=key.key_id)).etag for key in keys}
    assert listed == read
    assert [keys[0].etag == read[keys[0].key_id], len(set(read.values()))] == [False, 3]


async def test_two_who_change_different_things_do_not_undo_each_other(consumer: Any, new_key: Any) -> None:
    key = (await new_key(consumer)).key
    renamed = await consumer("UpdateKey", key_id=key.key_id, name="mine", etag=key.etag)
    networks = {"key_id": key.key_id, "allowed_networks": ["192.0.2.0/24"]}
    assert (await error_of(consumer("SetAllowedNetworks", **networks, etag=key.etag))).code == "etag_mismatch"
    both = await consumer("SetAllowedNetworks", **networks, etag=renamed.etag)
    assert (both.name, both.allowed_networks) == ("mine", ["192.0.2.0/24"])
