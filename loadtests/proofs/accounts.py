"""Three accounts of the same calls, and where they differ."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ams.usage.v1.events_pb2 import ForwardedTotal, UsageEvent, UsageTotal

from loadtests.proofs.usage_topic import request_id


@dataclass(frozen=True)
class Accounts:
    """The caller's, the upstream's and the meter's."""

    answered: Mapping[str, int]  # the number of the call, by request id
    upstream_request_ids: Sequence[str]
    upstream_calls: Mapping[int, int]  # how often each number came
    events: Sequence[UsageEvent]


def differences(accounts: Accounts) -> list[str]:
    """What one account has and another lacks; [] when every answered call was counted once.

    A call that was cut off by a kill may be in the upstream's log without an event: its caller had no answer,
    and pays nothing. The other way round an event stands for a call that the upstream must have had.
    """
    answered, received = set(accounts.answered), set(accounts.upstream_request_ids)
    spellings: defaultdict[bytes, set[bytes]] = defaultdict(set)
    ids: defaultdict[str, set[bytes]] = defaultdict(set)
    for event in accounts.events:
        if not event.is_continuation:
            spellings[event.event_id].add(event.SerializeToString(deterministic=True))
            ids[request_id(event)].add(event.event_id)
    found = [
        ("answered calls have no event", answered - set(ids)),
        ("answered calls are not in the upstream's log", answered - received),
        ("events are of calls that the upstream never had", set(ids) - received),
        ("calls have several events", {name for name, events in ids.items() if len(events) > 1}),
        (
            "events come in several spellings",
            {each.hex() for each, ways in spellings.items() if len(ways) > 1},
        ),
        (
            "calls reached the upstream more than once",
            {str(call) for call, times in accounts.upstream_calls.items() if times > 1},
        ),
    ]
    lines = [f"{len(these)} {what}, as {min(these)}" for what, these in found if these]
    return lines + gaps(accounts.events)


def told_requests(totals: Iterable[UsageTotal]) -> int:
    """The calls that usage-svc has told billing-svc of: of each group its greatest total."""
    greatest: Counter[tuple[str, ...]] = Counter()
    for total in totals:
        group = (
            total.day,
            total.merchant_id,
            total.consumer_id,
            total.project_id,
            total.api_key_id,
            total.service_id,
            str(total.charge_class),
        )
        greatest[group] = max(greatest[group], total.requests)
    return greatest.total()


def misforwarded(totals: Iterable[ForwardedTotal], events: Iterable[UsageEvent]) -> list[str]:
    """Journals that say another number of events than there are of them; [] when there is none."""
    greatest: Counter[tuple[bytes, str, str, str]] = Counter()
    for total in totals:
        group = total.journal_id, total.day, total.merchant_id, total.consumer_id
        greatest[group] = max(greatest[group], total.events)
    said: Counter[bytes] = Counter()
    for (journal_id, *_), number in greatest.items():
        said[journal_id] += number
    counted = Counter(journal for journal, _ in {(event.journal_id, event.sequence) for event in events})
    return [
        f"journal {journal.hex()} says {said[journal]:,} events, and there are {counted[journal]:,}"
        for journal in sorted(said | counted)
        if said[journal] != counted[journal]
    ]


def gaps(events: Iterable[UsageEvent]) -> list[str]:
    """Numbers that are missing in a journal, or stand for two events. Gateways that don't number their events
    show none."""
    by_number: defaultdict[bytes, defaultdict[int, set[bytes]]] = defaultdict(lambda: defaultdict(set))
    unnumbered: Counter[bool] = Counter()
    for event in events:
        unnumbered[not event.journal_id] += 1
        if event.journal_id:
            by_number[event.journal_id][event.sequence].add(event.event_id)
    lines = [f"{unnumbered[True]} events are numbered in no journal"] if len(unnumbered) == 2 else []
    for journal, numbers in by_number.items():
        missing = sorted(set(range(1, max(numbers) + 1)) - set(numbers))
        if missing:
            lines.append(f"journal {journal.hex()} lacks {len(missing)} numbers, as {missing[0]}")
        if min(numbers) < 1:
            lines.append(f"journal {journal.hex()} has the number {min(numbers)}")
        if double := [number for number, ids in numbers.items() if len(ids) > 1]:
            lines.append(f"journal {journal.hex()} has two events with the number {double[0]}")
    return lines
