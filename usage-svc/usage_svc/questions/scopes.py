"""Whose usage a question is about, and what of it its asker may see. Pure.

A consumer asks about their own calls and those of projects that they are in, a merchant about calls of their
services, an admin about all. A merchant knows consumers and keys by pseudonyms only, and projects, which are
the consumers' affair, not at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT, Role
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1.alert_service_pb2 import CreateAlertRuleRequest
from ams_common import formats
from ams_common.errors import FieldViolation, InvalidArgumentError
from ams_common.ids import uuid_or_none
from ams_common.pseudonyms import Pseudonyms

from usage_svc.events import Series

STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_FILTERS = ("service_id", "api_key_id", "project_id", "consumer", "key", "merchant_id")
_FILTERS_OF: Mapping[Role.ValueType, frozenset[str]] = {
    CONSUMER: frozenset({"service_id", "api_key_id", "project_id"}),
    MERCHANT: frozenset({"service_id", "consumer", "key"}),
    ADMIN: frozenset({"service_id", "api_key_id", "project_id", "consumer", "merchant_id"}),
}


class Asker(NamedTuple):
    """Who asks, in which role."""

    role: Role.ValueType
    user_id: UUID


@dataclass(frozen=True, slots=True)
class Scope:
    """The calls that a question is about: those of the asker, or of everybody for an admin, which all of
    these have in common. None: whatever it is."""

    asker: Asker
    service_id: UUID | None = None
    api_key_id: UUID | None = None
    project_id: UUID | None = None
    consumer_id: UUID | None = None
    merchant_id: UUID | None = None
    # A merchant's filters.
    pseudonym: str = ""
    key_pseudonym: str = ""

    @property
    def is_everything(self) -> bool:
        """Whether it is all calls that there are."""
        ids = (self.service_id, self.api_key_id, self.project_id, self.consumer_id, self.merchant_id)
        return self.asker.role == ADMIN and not any(ids)

    @property
    def is_of_whole_consumers(self) -> bool:
        """Whether of each consumer it is all calls, or none."""
        ids = (self.service_id, self.api_key_id, self.project_id, self.merchant_id)
        return not any(ids) and not self.key_pseudonym

    def parameters(self) -> dict[str, UUID | None]:
        """What the database selects by; by pseudonyms only `select` can."""
        return {
            "service_id": self.service_id,
            "api_key_id": self.api_key_id,
            "project_id": self.project_id,
            "consumer_id": self.consumer_id,
            "merchant_id": self.merchant_id,
        }

    def select(self, series: Sequence[Series], pseudonyms: Pseudonyms) -> list[Series]:
        """Those of `series`, which fit the parameters, that fit the pseudonyms too."""
        found = list(series)
        owner = self.asker.user_id
        if self.pseudonym:
            ids = {each.consumer_id for each in found}
            wanted = set(pseudonyms.find_consumers([self.pseudonym], owner, ids))
            found = [each for each in found if each.consumer_id in wanted]
        if self.key_pseudonym:
            ids = {each.api_key_id for each in found}
            wanted = set(pseudonyms.find_keys([self.key_pseudonym], owner, ids))
            found = [each for each in found if each.api_key_id in wanted]
        return found


def check_filters(
    request: pb.GetUsageRequest | pb.ListCallsRequest | CreateAlertRuleRequest, role: Role.ValueType
) -> None:
    """Raises InvalidArgumentError filter_not_offered for a filter that isn't there in the asker's role."""
    given = {name for name in _FILTERS if getattr(request, name)}
    if unknown := sorted(given - _FILTERS_OF[role]):
        refused = [request.DESCRIPTOR.fields_by_name[name].json_name for name in unknown]
        violations = [FieldViolation(name, "is not a filter in this role") for name in refused]
        raise InvalidArgumentError("filter_not_offered", f"{refused[0]} is not a filter here.", violations)


def scope_of(asker: Asker, request: pb.GetUsageRequest | pb.ListCallsRequest) -> Scope:
    """What a request is about. Raises InvalidArgumentError filter_not_offered for a filter that isn't there
    in the asker's role, and consumer_invalid for what is no id."""
    check_filters(request, asker.role)
    is_merchant = asker.role == MERCHANT
    if not is_merchant and request.consumer and not formats.UUID.fullmatch(request.consumer):
        violation = FieldViolation("consumer", "must be a lower-case UUID")
        raise InvalidArgumentError("consumer_invalid", "consumer must be a lower-case UUID.", [violation])
    return Scope(
        asker,
        service_id=uuid_or_none(request.service_id),
        api_key_id=uuid_or_none(request.api_key_id),
        project_id=uuid_or_none(request.project_id),
        consumer_id=asker.user_id
        if asker.role == CONSUMER
        else uuid_or_none("" if is_merchant else request.consumer),
        merchant_id=asker.user_id if is_merchant else uuid_or_none(request.merchant_id),
        pseudonym=request.consumer if is_merchant else "",
        key_pseudonym=request.key,
    )


def status_classes_of(text: str) -> list[int]:
    """The numbers of the status classes that a filter lets through: of "2xx" that one, of "" all.

    Raises InvalidArgumentError.
    """
    if not text:
        return [number + 1 for number in range(len(STATUS_CLASSES))]
    if text not in STATUS_CLASSES:
        sentence = f"must be one of {', '.join(STATUS_CLASSES)}"
        violation = FieldViolation("statusClass", sentence)
        raise InvalidArgumentError("status_class_invalid", f"status_class {sentence}.", [violation])
    return [STATUS_CLASSES.index(text) + 1]


_GROUP_OF: Mapping[pb.GroupBy.ValueType, Callable[[Series], UUID | None]] = {
    pb.SERVICE: lambda series: series.service_id,
    pb.KEY: lambda series: series.api_key_id,
    pb.PROJECT: lambda series: series.project_id,
    pb.CONSUMER: lambda series: series.consumer_id,
    pb.MERCHANT: lambda series: series.merchant_id,
}


def check_group_by(asker: Asker, group_by: pb.GroupBy.ValueType) -> None:
    """Raises InvalidArgumentError group_by_not_offered."""
    if asker.role == MERCHANT and group_by == pb.PROJECT:
        sentence = "Projects are the consumers' affair: they are not shown to merchants."
        violation = FieldViolation("groupBy", "must not be PROJECT in this role")
        raise InvalidArgumentError("group_by_not_offered", sentence, [violation])


def group_names(
    asker: Asker, group_by: pb.GroupBy.ValueType, series: Iterable[Series], pseudonyms: Pseudonyms
) -> dict[int, str]:
    """The group of each series as the asker may see it, by the series' ids. What is in no project is in the
    group "", and so is everything when groups are not of series."""
    group_of = _GROUP_OF.get(group_by)
    if group_of is None:
        return {each.series_id: "" for each in series}
    groups = {each.series_id: group_of(each) for each in series}
    names = {group: _name(asker, group_by, group, pseudonyms) for group in set(groups.values())}
    return {series_id: names[group] for series_id, group in groups.items()}


def _name(asker: Asker, group_by: pb.GroupBy.ValueType, group: UUID | None, pseudonyms: Pseudonyms) -> str:
    if group is None:
        return ""
    if asker.role == MERCHANT and group_by == pb.CONSUMER:
        return pseudonyms.of_consumer(asker.user_id, group)
    if asker.role == MERCHANT and group_by == pb.KEY:
        return pseudonyms.of_key(asker.user_id, group)
    return str(group)
