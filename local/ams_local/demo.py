"""The demo marketplace: who offers what, and who uses it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Offer:
    """A service of the demo API at `path`, and one call that a person would try first."""

    name: str
    slug: str
    description: str
    path: str
    price_nanos: int  # thousand-millionths of a euro per request
    rate_limit_per_minute: int
    tags: tuple[str, ...]
    method: str
    example: str
    content: bytes | None = None
    # As REST takes it.
    forwarding: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Merchant:
    email: str
    name: str
    company_name: str
    offers: tuple[Offer, ...]


@dataclass(frozen=True)
class Consumer:
    email: str
    name: str
    # Slugs.
    uses: tuple[str, ...]


CURRENCY = Offer(
    name="Currency",
    slug="currency",
    description="Converts amounts between five currencies, rounded half-even to the cent.",
    path="/currency",
    price_nanos=2_000_000,
    rate_limit_per_minute=600,
    tags=("finance", "currency"),
    method="GET",
    example="/convert?from=EUR&to=CHF&amount=100",
)
WORDS = Offer(
    name="Word Count",
    slug="word-count",
    description="Counts the characters, words and lines of a UTF-8 text.",
    path="/text",
    price_nanos=500_000,
    rate_limit_per_minute=600,
    tags=("text",),
    method="POST",
    example="/count",
    content=b"The quick brown fox\njumps over the lazy dog\n",
)
QUOTES = Offer(
    name="Quotes",
    slug="quotes",
    description="A sentence worth remembering, and who said it.",
    path="/quotes",
    price_nanos=1_000_000,
    rate_limit_per_minute=120,
    tags=("text", "fun"),
    method="GET",
    example="/quote?number=2",
    forwarding={"corsOrigins": ["*"], "quotaPerDay": 10_000, "showsCosts": True},
)
ECHO = Offer(
    name="Echo",
    slug="echo",
    description="Sends back what it was sent, to try out a client.",
    path="/echo",
    price_nanos=100_000,
    rate_limit_per_minute=1200,
    tags=("testing",),
    method="POST",
    example="",
    content=b'{"hello": "AMS"}',
)
MERCHANTS = (
    Merchant("mara@numbers.example", "Mara Keller", "Numbers Ltd", (CURRENCY, WORDS)),
    Merchant("otto@words.example", "Otto Lind", "Words & Co", (QUOTES, ECHO)),
)
CONSUMERS = (
    Consumer("carla@shop.example", "Carla Rossi", ("currency", "word-count", "quotes", "echo")),
    Consumer("dev@studio.example", "Devon Blake", ("quotes", "echo")),
)
# How many calls the first start sends, so that usage and spend have something to show.
FIRST_CALLS = 50
KEY_TTL_DAYS = 90


def offer(slug: str) -> Offer:
    return next(one for merchant in MERCHANTS for one in merchant.offers if one.slug == slug)
