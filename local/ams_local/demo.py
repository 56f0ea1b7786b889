"""The demo marketplace: who offers what, and who uses it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ams_rating.charging import ChargeRule
from ams_rating.prices import (
    Component,
    Graduated,
    Meter,
    MonthlyFee,
    Packages,
    PerUnit,
    Price,
    Tier,
    Volume,
)


@dataclass(frozen=True)
class Offer:
    """A service of the demo API at `path`, and one call that a person would try first. A Docker service has
    neither."""

    name: str
    slug: str
    description: str
    path: str
    price: Price
    rate_limit_per_minute: int
    tags: tuple[str, ...]
    method: str
    example: str
    content: bytes | None = None
    # As REST takes them.
    forwarding: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    type: str = "API"
    # What its merchant would like to change, which waits for the admin.
    revised: Mapping[str, object] = field(default_factory=dict)
    # A file in documents/; "": it has no OpenAPI document.
    document: str = ""


@dataclass(frozen=True)
class Merchant:
    email: str
    name: str
    company_name: str
    offers: tuple[Offer, ...]
    # What its public profile says; "": it has none.
    about: str = ""
    website: str = ""


@dataclass(frozen=True)
class OtherKey:
    """A key that shows what can be set about one. `uses`: slugs; `calls`: methods and paths of the first."""

    name: str
    description: str
    uses: tuple[str, ...]
    networks: tuple[str, ...] = ()
    calls: tuple[tuple[str, str], ...] = ()
    is_disabled: bool = False


@dataclass(frozen=True)
class Consumer:
    email: str
    name: str
    # Slugs.
    uses: tuple[str, ...]
    other_keys: tuple[OtherKey, ...] = ()
    # Slugs of services that it waits for, whose merchants may decide.
    asks_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class Member:
    """`role`: as REST takes it. Who only holds an open invitation hasn't answered it yet."""

    email: str
    name: str
    role: str


@dataclass(frozen=True)
class Project:
    """Its owner is a consumer; its key is made by the first of the members."""

    name: str
    description: str
    owner_email: str
    members: tuple[Member, ...]
    invited: Member
    # Slugs.
    uses: tuple[str, ...]
    asks_for: str


def per_request(euros: str) -> Price:
    return Price("EUR", (Component(Meter.REQUESTS, PerUnit(Decimal(euros))),))


# Each way to price a service at least once, by what would make sense for it.
_FIRST_CALLS_FREE = Price(
    "EUR",
    (
        Component(
            Meter.REQUESTS,
            Graduated(
                (
                    Tier(10, Decimal(0)),
                    Tier(100_000, Decimal("0.002")),
                    Tier(None, Decimal("0.001")),
                )
            ),
        ),
    ),
    ChargeRule(is_client_error_free=True),
)
_MUCH_TEXT_IS_CHEAPER = Price(
    "EUR",
    (
        Component(Meter.REQUESTS, PerUnit(Decimal("0.0005"))),
        Component(
            Meter.REQUEST_MEGABYTES, Volume((Tier(1000, Decimal("0.02")), Tier(None, Decimal("0.01"))))
        ),
    ),
)
_SUBSCRIPTION_WITH_PACKAGES = Price(
    "EUR",
    (
        Component(None, MonthlyFee(Decimal("4.90"))),
        Component(Meter.REQUESTS, Packages(1000, Decimal(1))),
    ),
    ChargeRule(is_abandoned_free=True),
)
_FREE = Price("EUR")
_PER_EXECUTION = Price("EUR", (Component(Meter.EXECUTIONS, PerUnit(Decimal("0.05"))),))

CURRENCY = Offer(
    name="Currency",
    slug="currency",
    description="Converts amounts between five currencies, rounded half-even to the cent.",
    path="/currency",
    price=_FIRST_CALLS_FREE,
    rate_limit_per_minute=600,
    tags=("finance", "currency"),
    metadata={
        "formats": ["json"],
        "categories": ["finance", "data"],
        "serviceLevels": {"availabilityPpm": 999_500, "latencyP95Ms": 250},
        "supportContact": {"email": "help@numbers.example", "url": "https://numbers.example/help"},
    },
    method="GET",
    example="/convert?from=EUR&to=CHF&amount=100",
    document="currency.yaml",
)
WORDS = Offer(
    name="Word Count",
    slug="word-count",
    description="Counts the characters, words and lines of a UTF-8 text.",
    path="/text",
    price=_MUCH_TEXT_IS_CHEAPER,
    rate_limit_per_minute=600,
    tags=("text",),
    metadata={"formats": ["text", "json"], "categories": ["text"], "tracing": {"skipsResponseSize": True}},
    method="POST",
    example="/count",
    document="word-count.json",
    content=b"The quick brown fox\njumps over the lazy dog\n",
)
QUOTES = Offer(
    name="Quotes",
    slug="quotes",
    description="A sentence worth remembering, and who said it.",
    path="/quotes",
    price=_SUBSCRIPTION_WITH_PACKAGES,
    rate_limit_per_minute=120,
    tags=("text", "fun"),
    method="GET",
    example="/quote?number=2",
    forwarding={"corsOrigins": ["*"], "quotaPerDay": 10_000, "showsCosts": True, "limitScope": "PER_KEY"},
    metadata={"formats": ["json"], "categories": ["text", "other"]},
    revised={
        "description": "A sentence worth remembering, who said it, and when.",
        "version": "1.1.0",
        "rateLimitPerMinute": 300,
    },
)
ECHO = Offer(
    name="Echo",
    slug="echo",
    description="Sends back what it was sent, to try out a client.",
    path="/echo",
    price=_FREE,
    rate_limit_per_minute=1200,
    tags=("testing",),
    metadata={"formats": ["json", "text"], "categories": ["developer-tools"]},
    method="POST",
    example="",
    content=b'{"hello": "AMS"}',
)
RATES_IMAGE = Offer(
    name="Currency Server",
    slug="currency-server",
    description="The currency API as an image, to run beside your own programs.",
    path="",
    price=_PER_EXECUTION,
    rate_limit_per_minute=0,
    tags=("finance", "currency"),
    method="",
    example="",
    type="DOCKER",
    metadata={
        "categories": ["finance"],
        "imageType": "API_CONTAINER",
        "runtimeParameters": [
            {"name": "AMS_API_KEY", "description": "Your API key", "isRequired": True, "isSecret": True},
            {"name": "PORT", "description": "Where it listens", "defaultValue": "8080"},
        ],
    },
)
FORECAST = Offer(
    name="Forecast",
    slug="forecast",
    description="The weather of tomorrow, for those who helped to test it.",
    path="/quotes",
    price=_FREE,
    rate_limit_per_minute=60,
    tags=("weather",),
    method="GET",
    example="/quote",
    metadata={"formats": ["json"], "categories": ["weather"], "visibility": "PRIVATE"},
)
MERCHANTS = (
    Merchant(
        "mara@numbers.example",
        "Mara Keller",
        "Numbers Ltd",
        (CURRENCY, WORDS, RATES_IMAGE),
        about="Five people in Basel who count for others: money, words and whatever else has to be exact.\n\n"
        "Every answer is rounded once, and our status page tells of each minute that we were away.",
        website="https://numbers.example",
    ),
    Merchant(
        "otto@words.example",
        "Otto Lind",
        "Words & Co",
        (QUOTES, ECHO, FORECAST),
        about="Sentences worth remembering, since 2011. We read them all ourselves.",
        website="https://words.example",
    ),
)
CONSUMERS = (
    Consumer(
        "carla@shop.example",
        "Carla Rossi",
        ("currency", "word-count", "quotes", "echo"),
        other_keys=(
            OtherKey(
                "Nightly prices",
                "Runs in our data centre, and only reads.",
                ("currency",),
                networks=("203.0.113.0/24", "2001:db8:7::/48"),
                calls=(("GET", "/*"),),
            ),
            OtherKey("Old laptop", "Not used until it is found again.", ("quotes",), is_disabled=True),
        ),
    ),
    Consumer("dev@studio.example", "Devon Blake", ("quotes", "echo"), asks_for=("word-count",)),
)
PROJECT = Project(
    name="Checkout",
    description="Prices in every currency, in the shop and its app.",
    owner_email="carla@shop.example",
    members=(
        Member("dev@studio.example", "Devon Blake", "PROJECT_MANAGER"),
        Member("mika@shop.example", "Mika Sato", "PROJECT_MEMBER"),
        Member("vera@shop.example", "Vera Lund", "PROJECT_VIEWER"),
    ),
    invited=Member("noor@agency.example", "Noor Haddad", "PROJECT_MEMBER"),
    uses=("currency", "quotes"),
    asks_for="currency-server",
)
# Who has been invited and hasn't come yet: to offer services, and to the admins.
INVITED_MERCHANT = ("lena@maps.example", "Met at the fair: maps of rivers and lakes")
INVITED_ADMIN = ("ines@ams.example", "Looks after billing from January on")
# What its consumers are told ahead of time: another price of a service from two weeks on.
PRICE_AHEAD = (
    WORDS.slug,
    Price(
        "EUR",
        (
            Component(Meter.REQUESTS, PerUnit(Decimal("0.0006"))),
            Component(
                Meter.REQUEST_MEGABYTES,
                Volume((Tier(1000, Decimal("0.02")), Tier(None, Decimal("0.008")))),
            ),
        ),
    ),
)
PRICE_AHEAD_DAYS = 14
# What somebody of each role is told, once all of it has come: whose account, the role, and the kinds.
TOLD = (
    (
        CONSUMERS[0].email,
        "CONSUMER",
        {"access_decided", "invoice_issued", "price_change_ahead"},
    ),
    (MERCHANTS[0].email, "MERCHANT", {"access_requested", "listing_decided"}),
    ("", "ADMIN", {"access_requested", "listing_submitted"}),
)
# How many of them, the newest, nobody has read.
UNREAD = 3
TOKEN_NAME = "Nightly export of usage"
# How many calls the first start sends, so that usage and spend have something to show.
FIRST_CALLS = 50
KEY_TTL_DAYS = 90


def offer(slug: str) -> Offer:
    return next(one for merchant in MERCHANTS for one in merchant.offers if one.slug == slug)
