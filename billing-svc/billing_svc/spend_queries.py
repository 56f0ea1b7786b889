"""What is asked about the spend of days, checked. Pure."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from ams.billing.v1 import billing_service_pb2 as pb
from ams_common.errors import FieldViolation, InvalidArgumentError

from billing_svc.day_spend import KEY, PROJECT, SERVICE, SpendQuestion
from billing_svc.periods import last_day_of, month_of

MAX_DAYS = 4000
_GROUPS = {pb.SPEND_BY_KEY: KEY, pb.SPEND_BY_PROJECT: PROJECT, pb.SPEND_BY_SERVICE: SERVICE}


def questions_of(queries: Sequence[pb.SpendQuery], today: date) -> list[SpendQuestion]:
    """Raises InvalidArgumentError range_invalid, range_too_large."""
    return [_question_of(query, f"queries[{index}].lastDay", today) for index, query in enumerate(queries)]


def _question_of(query: pb.SpendQuery, field: str, today: date) -> SpendQuestion:
    first_day, last_day = date.fromisoformat(query.first_day), date.fromisoformat(query.last_day)
    if first_day > last_day:
        raise _invalid("range_invalid", field, "must not be before the first day")
    if (last_day - first_day).days >= MAX_DAYS:
        raise _invalid("range_too_large", field, f"must be less than {MAX_DAYS} days after the first day")
    return SpendQuestion(
        first_day,
        # To the end of a month that goes on: its days needn't be told apart then.
        last_day_of(month_of(last_day)) if last_day >= today else last_day,
        _GROUPS.get(query.group_by, ""),
        _id(query.service_id),
        _id(query.api_key_id),
        _id(query.project_id),
    )


def _id(text: str) -> UUID | None:
    return UUID(text) if text else None


def _invalid(code: str, field: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError(code, f"{field} {description}.", [FieldViolation(field, description)])
