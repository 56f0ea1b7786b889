"""Each event of a proof file against its day's root and against what the invoice counts. Only what is proven
counts.
"""

from collections import defaultdict
from collections.abc import Iterator
from uuid import UUID

from ams_rating.events import UsageEvent, read_leaf
from ams_rating.invoice_check import Difference, Head, month_of, usage_name
from ams_rating.merkle import leaf_hash, root_by_path
from ams_rating.proof import Event
from ams_rating.rate import Counts


class EventCheck:
    """Takes the events one after the other, and holds sums alone."""

    def __init__(self, head: Head) -> None:
        self._invoice = head.invoice
        self._usage = {(each.service_id, each.day, each.charge_class): each for each in head.usage}
        self._roots = {(root.day, root.edition): root for root in head.roots}
        self._last_ids: dict[tuple[UUID, str], UUID] = {}
        self._sums: defaultdict[object, Counts] = defaultdict(Counts)
        self.test_events = 0

    def add(self, proven: Event) -> Iterator[Difference]:
        """What is wrong with the event; it counts if nothing is. Raises ValueError for a leaf that can't be
        read."""
        event = read_leaf(proven.leaf.encode())
        problems = [*self._tree_problems(event, proven), *self._invoice_problems(event)]
        if event.is_test:
            self.test_events += 1
        elif not problems:
            call = Counts(int(not event.is_continuation), event.request_bytes, event.response_bytes)
            key = (event.service_id, event.day, event.charge_class)
            self._sums[key] = self._sums[key].plus(call)
        for problem in problems:
            yield Difference(f"event {event.event_id} of {event.day}", problem)

    def sum_differences(self) -> Iterator[Difference]:
        """After the last event: where they don't come to what the invoice counts."""
        for key, usage in self._usage.items():
            stated = Counts(usage.requests, usage.request_bytes, usage.response_bytes)
            if stated != (proven := self._sums[key]):
                yield Difference(
                    usage_name(usage),
                    f"the invoice counts {_words(stated)}, but the proven events come to {_words(proven)}",
                )

    def _tree_problems(self, event: UsageEvent, proven: Event) -> Iterator[str]:
        root = self._roots.get((event.day, proven.edition))
        if proven.edition == 0:
            yield "its day isn't closed, so no root stands for it yet"
        elif root is None:
            yield f"the file has no root of its day's edition {proven.edition}"
        elif (
            root_by_path(leaf_hash(proven.leaf.encode()), proven.index, root.events, proven.path) != root.root
        ):
            yield f"it isn't at place {proven.index} of the tree of its day's edition {proven.edition}"

    def _invoice_problems(self, event: UsageEvent) -> Iterator[str]:
        if event.merchant_id != self._invoice.merchant_id:
            yield f"it is of merchant {event.merchant_id}, not the invoice's"
        if event.consumer != self._invoice.consumer:
            yield f"it is of consumer {event.consumer}, not the invoice's"
        if event.day > self._invoice.last_day:
            yield f"it is after {self._invoice.last_day}, the invoice's last day"
        # Ids that only grow can't come twice, and the last one is all that must be kept.
        group = (event.service_id, month_of(event.day))
        last = self._last_ids.get(group)
        if last is not None and event.event_id <= last:
            yield "it stands twice in the file, or not in the order of ids of its service and month"
        else:
            self._last_ids[group] = event.event_id
        if event.is_test:
            return
        usage = self._usage.get((event.service_id, event.day, event.charge_class))
        if usage is None:
            yield f"the invoice counts nothing of its service and day as {event.charge_class.value}"
        elif event.source not in usage.last_offsets:
            yield f"it came from {event.source}, of which the invoice counts nothing"
        elif event.offset > (through := usage.last_offsets[event.source]):
            yield f"it came at offset {event.offset}, and the invoice counts up to {through}"


def _words(counts: Counts) -> str:
    return (
        f"{counts.requests} calls with {counts.request_bytes} bytes in requests and "
        f"{counts.response_bytes} in responses"
    )
