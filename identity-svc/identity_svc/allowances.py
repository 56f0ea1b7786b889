"""The rules of what may be asked, mailed and guessed: allowances that refill with time (GCRA).

What is stored of one is a single moment, when all of it is there again; so every replica sees it, and one
statement spends of several at once (sign_in.sql).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Allowance:
    """`size` at once, and one more after each `refill`. In any time t: at most size + t / refill."""

    name: str
    size: int
    refill: timedelta

    @classmethod
    def per_hour(cls, name: str, most: int) -> "Allowance":
        """At most so many in any hour, half of them at once."""
        return cls(name, max(1, most // 2), timedelta(hours=1) / max(1, most - most // 2))

    def wait(self, full_at: datetime, now: datetime) -> timedelta | None:
        """How long who has just spent until `full_at` should have waited; None when it was there."""
        over = full_at - now - self.size * self.refill
        return over if over > timedelta() else None


@dataclass(frozen=True, slots=True)
class Spending:
    """One of an allowance that somebody has, such as a network for an address."""

    allowance: Allowance
    whose: tuple[str, ...]

    @property
    def text(self) -> str:
        """Names what is counted, as no other."""
        return "\x00".join((self.allowance.name, *self.whose))


# A network's asks for codes; for the same address. How many it may have in all is a setting.
ASKS_OF_NETWORK_FOR_ADDRESS = Allowance("asks of network for address", 20, timedelta(minutes=3))

# Mails to an address that strangers cause: 30 at once, 60 a day beyond. Those that are the first of their
# network to it are counted apart: a few networks that ask all the time leave some for who hasn't asked yet.
MAILS_OF_NETWORK_TO_ADDRESS = Allowance("mails of network to address", 3, timedelta(hours=8))
FIRST_MAILS_TO_ADDRESS = Allowance("first mails to address", 20, timedelta(minutes=72))
FURTHER_MAILS_TO_ADDRESS = Allowance("further mails to address", 10, timedelta(minutes=144))
# A browser that has signed in there before uses up nobody's allowance but its own, and nobody uses up its.
MAILS_OF_DEVICE = Allowance("mails of device", 5, timedelta(minutes=15))

# Wrong codes of strangers: 97 of a million on a day for one account, first guesses of a network apart as with
# mails; 12,500 for all accounts together, so that whoever guesses at everybody from everywhere for a whole
# day finds one code with 1.3 %.
GUESSES_OF_NETWORK = Allowance("guesses of network", 30, timedelta(minutes=2))
GUESSES_OF_NETWORK_AT_ACCOUNT = Allowance("guesses of network at account", 10, timedelta(minutes=30))
FIRST_GUESSES_AT_ACCOUNT = Allowance("first guesses at account", 15, timedelta(minutes=60))
FURTHER_GUESSES_AT_ACCOUNT = Allowance("further guesses at account", 10, timedelta(minutes=30))
GUESSES_IN_ALL = Allowance("guesses in all", 500, timedelta(seconds=7.2))
GUESSES_OF_DEVICE = Allowance("guesses of device", 10, timedelta(minutes=6))

# Wrong second factors at an account, whose address was proven before: 250 of a million codes a day.
PROOFS_AT_ACCOUNT = Allowance("proofs at account", 10, timedelta(minutes=6))


def longest_wait(spent: Sequence[tuple[Allowance, datetime]], now: datetime) -> timedelta | None:
    """How long until all of what was spent would have been there; None when it was."""
    waits = [wait for allowance, full_at in spent if (wait := allowance.wait(full_at, now)) is not None]
    return max(waits, default=None)
