"""Whether what was forwarded is what was recorded, rated and invoiced; each difference has a name. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

DayKey = tuple[date, UUID]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a difference is called, what it means, and whether it is as it should be."""

    title: str
    message: str
    is_expected: bool = False


# Every difference there can be, in the order in which a day names them: the only list of them. Answers carry
# it, so that pages and scripts have none of their own.
KINDS: Mapping[str, Kind] = {
    "dead_letter": Kind(
        "Could not be applied",
        "They arrived and couldn't be recorded. They are kept, and an admin has to decide about them.",
    ),
    "forwarded_not_recorded": Kind(
        "Forwarded, not recorded",
        "They were passed on and aren't recorded: on their way, or lost. What is lost an operator can send"
        " again from the gateway's journal.",
    ),
    "recorded_not_forwarded": Kind(
        "Recorded, not told by a gateway",
        "They are recorded, and nobody has told yet that they were forwarded, as gateways do within seconds.",
    ),
    "test_calls": Kind("Test calls", "They came with test keys, which are never billed.", is_expected=True),
    "bytes_of_test_calls": Kind(
        "Bytes of test calls", "Of calls with test keys, which are never billed.", is_expected=True
    ),
    "continuations": Kind(
        "Parts of calls",
        "They are later parts of calls that last: their bytes are billed, the call counts once.",
        is_expected=True,
    ),
    "not_rated_yet": Kind(
        "Not rated yet", "They are recorded, and billing hasn't counted them yet: a matter of seconds."
    ),
    "bytes_not_rated": Kind(
        "Bytes not rated yet", "They are recorded, and billing hasn't counted them yet: a matter of seconds."
    ),
    "rated_not_recorded": Kind(
        "Rated, not recorded",
        "Billing has counted them, and they aren't recorded: the record of usage was restored to a time"
        " before, and is being read again.",
    ),
    "bytes_rated_not_recorded": Kind(
        "Bytes rated, not recorded",
        "Billing has counted them, and they aren't recorded: the record of usage was restored to a time"
        " before, and is being read again.",
    ),
    "price_unknown": Kind(
        "No price known", "The price of their service hasn't arrived at billing yet. It blocks their invoice."
    ),
    "bytes_price_unknown": Kind(
        "Bytes without a known price", "The price of their service hasn't arrived at billing yet."
    ),
    "not_charged": Kind(
        "Not charged",
        "Answers with 5xx, our own refusals and failures, and what the price's rule gives away.",
        is_expected=True,
    ),
    "bytes_not_charged": Kind("Bytes not charged", "Of calls that aren't charged.", is_expected=True),
    "not_invoiced_yet": Kind(
        "Not invoiced yet",
        "No invoice has been issued for them. They come with the next one.",
        is_expected=True,
    ),
    "bytes_not_invoiced_yet": Kind(
        "Bytes not invoiced yet", "They come with the next invoice.", is_expected=True
    ),
    "invoiced_not_rated": Kind(
        "Invoiced, not rated",
        "Invoices say more of them than billing has counted: an operator has to look at it.",
    ),
    "bytes_invoiced_not_rated": Kind(
        "Bytes invoiced, not rated",
        "Invoices say more of them than billing has counted: an operator has to look at it.",
    ),
}
# Under which code the bytes are that the events or calls of another have, or differ by without them.
_BYTES = {
    "test_calls": "bytes_of_test_calls",
    "not_rated_yet": "bytes_not_rated",
    "rated_not_recorded": "bytes_rated_not_recorded",
    "price_unknown": "bytes_price_unknown",
    "not_charged": "bytes_not_charged",
    "not_invoiced_yet": "bytes_not_invoiced_yet",
    "invoiced_not_rated": "bytes_invoiced_not_rated",
}


@dataclass(frozen=True, slots=True)
class Amount:
    """Events or calls, and their bytes."""

    count: int = 0
    request_bytes: int = 0
    response_bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            self.count + other.count,
            self.request_bytes + other.request_bytes,
            self.response_bytes + other.response_bytes,
        )

    def beyond(self, other: "Amount") -> "Amount":
        """What this has more than the other, each figure for itself."""
        return Amount(
            max(self.count - other.count, 0),
            max(self.request_bytes - other.request_bytes, 0),
            max(self.response_bytes - other.response_bytes, 0),
        )


_NOTHING = Amount()


@dataclass(frozen=True, slots=True)
class Recorded:
    """What usage-svc knows: see DayTotal of its contract. `told`: the calls that billing is told of."""

    forwarded: int = 0
    recorded: Amount = _NOTHING
    test: Amount = _NOTHING
    told: Amount = _NOTHING
    dead_letters: int = 0
    unrecorded: int = 0
    untold: int = 0


@dataclass(frozen=True, slots=True)
class Rated:
    """What billing knows, in calls: `rated` is `invoiced` and what `open` names by its reasons, without the
    `excess` that invoices say beyond it."""

    rated: Amount = _NOTHING
    invoiced: Amount = _NOTHING
    excess: Amount = _NOTHING
    open: Mapping[str, Amount] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """What is compared with each other: a consumer's day of a merchant, or that of several who all agree."""

    recorded: Recorded = Recorded()
    rated: Rated = Rated()


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much two figures differ, and why: a code of bytes counts nothing, any other has no bytes."""

    code: str
    amount: Amount


@dataclass(frozen=True, slots=True)
class ReconciledDay:
    day: date
    merchant_id: UUID
    forwarded: int
    recorded: Amount
    rated: Amount
    invoiced: Amount
    differences: tuple[Difference, ...]

    @property
    def is_reconciled(self) -> bool:
        return all(KINDS[each.code].is_expected for each in self.differences)


def reconcile(key: DayKey, parts: Iterable[Part]) -> ReconciledDay:
    """A day of a merchant. Each part is compared for itself, so that what one has too many hides nothing that
    another lacks, and only then are they added up."""
    parts = list(parts)
    named: defaultdict[str, Amount] = defaultdict(Amount)
    for part in parts:
        for code, amount in _differences(part.recorded, part.rated):
            named[code] += amount
    return ReconciledDay(
        *key,
        forwarded=sum(part.recorded.forwarded for part in parts),
        recorded=sum((part.recorded.recorded for part in parts), _NOTHING),
        rated=sum((part.rated.rated for part in parts), _NOTHING),
        invoiced=sum((part.rated.invoiced for part in parts), _NOTHING),
        differences=tuple(Difference(code, named[code]) for code in KINDS if code in named),
    )


def _differences(recorded: Recorded, rated: Rated) -> Iterator[tuple[str, Amount]]:
    """By code."""
    of_events = {
        # forwarded, without the first two and with the third, is what was recorded
        "dead_letter": recorded.dead_letters,
        "forwarded_not_recorded": recorded.unrecorded,
        "recorded_not_forwarded": recorded.untold,
        # parts of calls, whose bytes count as the calls' do
        "continuations": recorded.recorded.count - recorded.test.count - recorded.told.count,
    }
    for code, events in of_events.items():
        if events:
            yield code, Amount(events)
    of_calls = {
        # recorded, without these and with the third, is what was rated
        "test_calls": recorded.test,
        "not_rated_yet": recorded.told.beyond(rated.rated),
        "rated_not_recorded": rated.rated.beyond(recorded.told),
        # rated, without these and with the last, is what was invoiced
        **rated.open,
        "invoiced_not_rated": rated.excess,
    }
    for code, amount in of_calls.items():
        if amount.count:
            yield code, Amount(amount.count)
        if amount.request_bytes or amount.response_bytes:
            yield _BYTES[code], Amount(0, amount.request_bytes, amount.response_bytes)
