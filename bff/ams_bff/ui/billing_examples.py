"""What the guide on billing shows: prices at work and how calls are charged, both told by the rating
itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ams_rating.charging import ChargeRule, charge_class, is_charged
from ams_rating.price_words import describe_price, money
from ams_rating.prices import Component, Graduated, Meter, MonthlyFee, Packages, PerUnit, Price, Tier, Volume
from ams_rating.rate import Counts, rate, total_of

_TIERS = (
    Tier(1000, Decimal("0.02")),
    Tier(10_000, Decimal("0.01")),
    Tier(None, Decimal("0.005")),
)
_FREE_FIRST = (Tier(1000, Decimal(0)), Tier(10_000, Decimal("0.01")), Tier(None, Decimal("0.005")))


@dataclass(frozen=True, slots=True)
class Example:
    """What a month's use comes to, in words."""

    price: str
    used: str
    amount: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call can end, and whether it is charged then."""

    how: str
    charged: str


def examples() -> list[Example]:
    """A price of each model, at its borders."""
    graduated, volume = _requests(Graduated(_FREE_FIRST)), _requests(Volume(_TIERS))
    packages, fee = _requests(Packages(1000, Decimal(10))), Price("EUR", (_FEE,))
    megabytes = Price("EUR", (Component(Meter.MEGABYTES, PerUnit(Decimal("0.05"))),))
    return [
        *_used(_requests(PerUnit(Decimal("0.002"))), 1, 1500),
        *_used(_requests(PerUnit(Decimal("0.005"))), 1, 3),
        Example(
            _words(megabytes),
            "10 requests, 1,000,000 request bytes, 500,000 response bytes",
            _amount(megabytes, Counts(10, 1_000_000, 500_000)),
        ),
        *_used(graduated, 1000, 1001, 10_000, 25_000),
        *_used(volume, 1000, 1001),
        *_used(packages, 1, 1000, 1001),
        *_used(fee, 0, 1),
    ]


def endings() -> list[Ending]:
    """All of them."""
    return [
        Ending("Answered with a status below 400", _charged("answered", 200)),
        Ending("Answered with 4xx", _charged("answered", 404)),
        Ending("Given up by the caller before the answer began", _charged("client_closed", 499)),
        Ending(
            "The answer broke off or fell silent after some of it had been passed on",
            "As its status says: what was delivered counts",
        ),
        Ending("Answered with 5xx", _charged("answered", 500)),
        Ending("The merchant’s API gave no answer", _charged("upstream_failed", 504)),
        Ending("Refused or ended by AMS before an answer", _charged("refused", 413)),
        Ending("With a test key", "Never charged"),
    ]


_FEE = Component(None, MonthlyFee(Decimal(49)))
_GIVES_ALL = ChargeRule(is_client_error_free=True, is_abandoned_free=True)


def _charged(outcome: str, status_code: int) -> str:
    kind = charge_class(outcome, status_code)
    if is_charged(ChargeRule(), kind):
        always = is_charged(_GIVES_ALL, kind)
        return "Charged" if always else "As the price says: charged unless it says otherwise"
    return "Never charged"


def _requests(scheme: PerUnit | Graduated | Volume | Packages) -> Price:
    return Price("EUR", (Component(Meter.REQUESTS, scheme),))


def _used(price: Price, *requests: int) -> Sequence[Example]:
    return [
        Example(
            _words(price),
            f"{count:,} request{'' if count == 1 else 's'}",
            _amount(price, Counts(count)),
        )
        for count in requests
    ]


def _words(price: Price) -> str:
    return "; ".join(describe_price(price))


def _amount(price: Price, counts: Counts) -> str:
    return money(total_of(rate(price, counts)), price.currency)
