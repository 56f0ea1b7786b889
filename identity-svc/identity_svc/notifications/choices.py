"""By which ways somebody gets a category of notifications. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ams.identity.v1 import notifications_service_pb2 as pb
from ams.identity.v1.notifications_service_pb2 import NotificationCategory
from ams_common.errors import FieldViolation, InvalidArgumentError

from identity_svc.notifications import catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The ways by which somebody wants a category."""

    category: NotificationCategory.ValueType
    by_mail: bool
    in_app: bool


def in_force(category: NotificationCategory.ValueType, chosen: Choice | None) -> Choice:
    """What holds: both ways where it is required, or where nothing was chosen."""
    if chosen is None or category in catalogue.REQUIRED:
        return Choice(category=category, by_mail=True, in_app=True)
    return chosen


def all_in_force(chosen: Collection[Choice]) -> Sequence[Choice]:
    """One for each category, in the order of the contract."""
    by_category: Mapping[int, Choice] = {choice.category: choice for choice in chosen}
    return [in_force(category, by_category.get(category)) for category in catalogue.CATEGORIES]


def wanted(asked: Sequence[pb.NotificationChoice]) -> Sequence[Choice]:
    """What a request asks for. Raises InvalidArgumentError category_twice, category_required."""
    seen: set[int] = set()
    for number, choice in enumerate(asked):
        field = f"choices[{number}].category"
        if choice.category in seen:
            raise _refused("category_twice", field, "is named twice")
        seen.add(choice.category)
        if choice.category in catalogue.REQUIRED and not (choice.by_mail and choice.in_app):
            raise _refused("category_required", field, "can't be turned off")
    return [
        Choice(category=choice.category, by_mail=choice.by_mail, in_app=choice.in_app) for choice in asked
    ]


def choice_message(choice: Choice) -> pb.NotificationChoice:
    return pb.NotificationChoice(
        category=choice.category,
        by_mail=choice.by_mail,
        in_app=choice.in_app,
        is_required=choice.category in catalogue.REQUIRED,
    )


def _refused(code: str, field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        code, "The choices can't be kept as they are.", [FieldViolation(field, description)]
    )
