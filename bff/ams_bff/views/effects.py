"""When it holds that something was taken away, where that isn't at once: what a page says of it."""

from typing import TypeAlias
from zoneinfo import ZoneInfo

from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.identity.v1 import identity_service_pb2 as identity_pb
from ams.keys.v1 import grants_service_pb2 as grants_pb
from ams.keys.v1 import keys_service_pb2 as keys_pb
from ams.keys.v1 import service_consumers_service_pb2 as consumers_pb
from ams_common.clock import from_timestamp

from ams_bff.http.sessions import Flash

# The answers of what takes something away.
Taking: TypeAlias = (
    keys_pb.Key
    | keys_pb.ConsumerSpendCap
    | keys_pb.ProjectSpendCap
    | grants_pb.Grant
    | consumers_pb.ServiceConsumer
    | consumers_pb.ServiceKey
    | catalog_pb.Service
    | identity_pb.Merchant
    | identity_pb.Consumer
)


def late_text(answer: Taking, zone: ZoneInfo) -> str:
    """By when it holds, if the gateways couldn't be told at once; "" otherwise."""
    if answer.HasField("effective_by"):
        until = from_timestamp(answer.effective_by).astimezone(zone)
        return (
            "But AMS can't reach every gateway right now: calls may still pass as before until "
            f"{until:%H:%M:%S %Z} at the latest."
        )
    if isinstance(answer, identity_pb.Merchant | identity_pb.Consumer) and answer.is_held_up:
        return (
            "But the part of AMS that tells the gateways is away: calls may still pass as before until a "
            "minute after it is back."
        )
    return ""


def effect_flash(text: str, answer: Taking, zone: ZoneInfo, *, undo_url: str = "") -> Flash:
    """`text`, which says what was done, and by when it holds, if that isn't at once. `undo_url`: where to
    take it back."""
    action = "Undo" if undo_url else ""
    if late := late_text(answer, zone):
        # Of the kind that stays until it is dismissed: who stops somebody, or a leaked key, has to know.
        return Flash(f"{text} {late}", "bad", action, undo_url)
    return Flash(text, action=action, action_url=undo_url)
