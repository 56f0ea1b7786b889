"""The groups of an answer: those that were used, or the top of them and all others as one. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from ams.usage.v1 import usage_service_pb2 as pb

from usage_svc.events import Series
from usage_svc.questions.ranges import too_large
from usage_svc.questions.scopes import STATUS_CLASSES

OTHER: Final = "other"
MAX_GROUPS: Final = 2_000


class SeriesRequests(NamedTuple):
    """How often a series was used."""

    series_id: int
    requests: int


class Counted(NamedTuple):
    """A group, and whether what is read counts in it (1) or against it (-1)."""

    group_no: int
    sign: int


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups by their numbers: of a series, to which that of a status class is added."""

    names: Sequence[str]
    of_series: Mapping[int, int]
    of_class: Sequence[int] = (0,) * len(STATUS_CLASSES)
    # Whether the last is that of all which aren't shown by themselves.
    has_other: bool = False

    @classmethod
    def of(cls, group_by: pb.GroupBy.ValueType, names_of_series: Mapping[int, str]) -> "Groups":
        """All that there may be, by name."""
        if group_by == pb.STATUS_CLASS:
            return cls(STATUS_CLASSES, dict.fromkeys(names_of_series, 0), range(len(STATUS_CLASSES)))
        names = sorted(set(names_of_series.values()))
        numbers = {name: number for number, name in enumerate(names)}
        return cls(names, {series_id: numbers[name] for series_id, name in names_of_series.items()})

    def of_all(self, series: Iterable[Series], sum_of: Mapping[UUID, int]) -> dict[int, int]:
        """The group of each series that is read for `series`: where a consumer has a sum that one, for all of
        the consumer's, which are in one group then."""
        return {
            sum_of.get(each.consumer_id, each.series_id): self.of_series[each.series_id] for each in series
        }

    def of_sums(self, series: Sequence[Series], sum_of: Mapping[UUID, int]) -> dict[int, int]:
        """The group of each series that is read for `series` where the last group is the one of all others:
        of a consumer with a sum, that is read there, and those of other groups, which are too much in it, are
        numbered on behind the groups (see `counted`)."""
        last = len(self.names) - 1
        others = {each.consumer_id for each in series if self.of_series[each.series_id] == last}
        summed = others & sum_of.keys()
        read = {}
        for each in series:
            group = self.of_series[each.series_id]
            if each.consumer_id not in summed:
                read[each.series_id] = group
            elif group == last:
                read[sum_of[each.consumer_id]] = last
            else:
                read[each.series_id] = group + len(self.names)
        return read

    def counted(self) -> Sequence[Sequence[Counted]]:
        """Of each number that `of_all` and `of_sums` give: in which groups it counts, or against them."""
        last = len(self.names) - 1
        itself = [[Counted(group, 1)] for group in range(len(self.names))]
        return [*itself, *([Counted(group, 1), Counted(last, -1)] for group in range(last))]

    def narrowed(self, used: Iterable[SeriesRequests], top: int) -> "Groups":
        """With one group for all that don't have the most requests; only of groups of series. Raises
        InvalidArgumentError range_too_large when they are too many without `top`."""
        requests: Counter[int] = Counter()
        for each in used:
            requests[self.of_series[each.series_id]] += each.requests
        shown = self.shown(requests, top)
        return Groups(
            shown.names,
            {series_id: shown.new[group] for series_id, group in self.of_series.items()},
            has_other=shown.names[-1:] == [OTHER],
        )

    def shown(self, requests: Mapping[int, int], top: int) -> "Shown":
        """What is shown of groups that have so many requests, those that have none left out. Raises
        InvalidArgumentError range_too_large."""
        ranked = sorted(
            requests, key=lambda group: (self.names[group] == OTHER, -requests[group], self.names[group])
        )
        shown = sorted(ranked[: top or None], key=lambda group: self.names[group])
        if len(shown) > MAX_GROUPS:
            raise too_large(f"There are more than {MAX_GROUPS} groups: ask for the top ones, or filter.")
        names = [self.names[group] for group in shown]
        if len(ranked) > len(shown):
            names.append(OTHER)
        # What is in none of them is in the last. It was used before the period only, if there is no other.
        last = max(len(names) - 1, 0)
        new = dict.fromkeys(range(len(self.names)), last) | {
            group: number for number, group in enumerate(shown)
        }
        return Shown(names, new)


class Shown(NamedTuple):
    """Names of groups, and the number that each group of before has among them."""

    names: list[str]
    new: Mapping[int, int]
