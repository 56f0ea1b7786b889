"""Whatever takes something away says by when it holds, on its page too."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1 import lifecycle_service_pb2 as lifecycle_pb
from ams.catalog.v1 import openapi_service_pb2 as openapi_pb
from ams.identity.v1 import identity_service_pb2 as identity_pb
from ams.keys.v1 import grants_service_pb2 as grants_pb
from ams.keys.v1 import key_settings_service_pb2 as key_settings_pb
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.keys.v1 import service_consumers_service_pb2 as consumers_pb
from ams.policy.v1.policy_pb2 import rule
from ams_bff import views
from ams_bff.views.effects import effect_flash, late_text
from ams_common.etags import EFFECTIVE_BY
from google.protobuf.descriptor import MethodDescriptor

ZONE = ZoneInfo("Europe/Zurich")
AT = datetime(2026, 11, 29, 8, 15, 30, tzinfo=UTC)
# Their answers can say by when they hold, and they give, or take nothing from anybody who calls.
GIVING = {
    *("ApproveService", "CreateService", "RejectService", "SubmitService", "UpdateService"),
    *("ReinstateService", "SetUpstreamCredential", "SetOpenapiDocument", "DeleteOpenapiDocument"),
    *("CreateKey", "UpdateKey", "EnableKey", "UnblockServiceConsumer"),
    *("UnblockConsumer", "ReinstateMerchant"),
}


def _can_say_when(rpc: MethodDescriptor) -> bool:
    """In what it answers with, or in a part of it."""
    parts = [field.message_type for field in rpc.output_type.fields if field.message_type is not None]
    return any(EFFECTIVE_BY in message.fields_by_name for message in (rpc.output_type, *parts))


TAKING = {
    rpc.name
    for module in (
        *(catalog_pb, lifecycle_pb, openapi_pb, grants_pb, keys_pb, key_settings_pb),
        *(consumers_pb, identity_pb),
    )
    for service in module.DESCRIPTOR.services_by_name.values()
    for rpc in service.methods
    if rpc.GetOptions().Extensions[rule].audit and _can_say_when(rpc)
} - GIVING
_VIEWS = Path(str(files(views)))
# What says it: by itself, for a module's actions alike, and for both kinds of accounts (views/standing.py).
_SAYING = {"effect_flash", "late_text", "_done", "AccountKind"}


@pytest.mark.parametrize(
    "answer",
    [
        keys_pb.Key(),
        keys_pb.ConsumerSpendCap(),
        keys_pb.ProjectSpendCap(),
        grants_pb.Grant(),
        consumers_pb.ServiceConsumer(),
        consumers_pb.ServiceKey(),
        catalog_pb.Service(),
        identity_pb.Merchant(),
        identity_pb.Consumer(),
    ],
    ids=lambda answer: answer.DESCRIPTOR.name,
)
def test_what_could_not_be_told_to_all_says_by_when_it_holds(answer: keys_pb.Key) -> None:
    at_once = effect_flash("It is gone.", answer, ZONE, undo_url="/undo")
    assert (at_once.text, at_once.kind, at_once.action_url) == ("It is gone.", "good", "/undo")
    answer.effective_by.FromDatetime(AT)
    flash = effect_flash("It is gone.", answer, ZONE, undo_url="/undo")
    assert flash.text.startswith("It is gone. But AMS")
    assert "until 09:15:30 CET at the latest" in flash.text
    # Of the kind that stays until it is dismissed.
    assert (flash.kind, flash.action, flash.action_url) == ("bad", "Undo", "/undo")


def test_what_nobody_can_say_the_time_of_is_said_to_wait() -> None:
    flash = effect_flash("Cora is blocked.", identity_pb.Consumer(is_held_up=True), ZONE)
    assert "until a minute after it is back" in flash.text
    assert flash.kind == "bad"
    assert late_text(identity_pb.Consumer(), ZONE) == ""


def test_every_page_of_what_takes_something_away_says_by_when() -> None:
    found = set()
    for path in _VIEWS.glob("*.py"):
        for statement in ast.parse(path.read_text()).body:
            names = set(_names(statement))
            for rpc in names & TAKING:
                found.add(rpc)
                assert names & _SAYING, f"{path.name}: {rpc}, whose answer isn't said to hold later"
    assert found == TAKING


def _names(statement: ast.stmt) -> Iterator[str]:
    """All that a function, or whatever stands beside functions, refers to."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
