"""ListMerchants and ListConsumers: every order, and the search for words."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1.events_pb2 import Standing
from ams_common.client import invoke
from ams_common.clock import utc_now
from ams_common.ids import uuid7
from ams_common.paging import PageRequest
from ams_common.testing.lists import Ask, check_orders, check_orders_while_rows_come, walk
from identity_svc.roles import standing_text
from identity_svc.store import Store

NAMES = ["Geo", "geo", "Ärzte", "ärzte", "Zebra", "apple", "GEO", "Österreich"]


def ask(identity: Any, method: str) -> Ask:
    token = identity.admin[0][1].removeprefix("Bearer ")

    async def call(**fields: Any) -> Any:
        return await invoke(
            getattr(identity.stub, method), getattr(pb, f"{method}Request")(**fields), token=token
        )

    return call


SORT_KEYS: dict[str, Callable[[Any], Any]] = {
    "standing": lambda user: standing_text(user.standing),
    "registered_at": lambda user: user.registered_at.ToNanoseconds(),
}
MERCHANT_SORT_KEYS = {"company_name": lambda merchant: merchant.company_name.lower(), **SORT_KEYS}
CONSUMER_SORT_KEYS = {"name": lambda consumer: consumer.name.lower(), **SORT_KEYS}


async def add(
    identity: Any, role: str, email: str, name: str, at: datetime, standing: str = "active"
) -> None:
    """Adds a user with the role; a merchant's company has the user's name."""
    user_id = uuid7()
    async with identity.servicer.database.connection() as connection:
        await connection.execute("INSERT INTO users VALUES ($1, $2, $3, $4)", user_id, email, name, at)
        await connection.execute(
            "INSERT INTO user_roles (user_id, role, standing, granted_at) VALUES ($1, $2, $3, $4)",
            user_id,
            role,
            standing,
            at,
        )
        if role == "merchant":
            await connection.execute(
                "INSERT INTO merchant_profiles (user_id, company_name, slug) VALUES ($1, $2, $3)",
                user_id,
                name,
                f"m-{user_id}",
            )


async def fill(identity: Any, role: str, stopped: str) -> None:
    """Both standings and three times; the other role's people are there too."""
    now, other = utc_now(), "consumer" if role == "merchant" else "merchant"
    for number, name in enumerate(NAMES):
        at, standing = now - timedelta(seconds=number % 3), ("active", stopped)[number % 2]
        await add(identity, role, f"{name[0].lower()}{number * 5 % 8}@example.com", name, at, standing)
    await add(identity, other, "other@example.com", "Geo", now)


async def check_email(listed: Ask) -> None:
    """No two people have one address, so there are no ties."""
    emails = sorted(user.email for user in await walk(listed))
    for order_by, expected in (("email", emails), ("email desc", emails[::-1])):
        shown = await walk(listed, page_size=3, order_by=order_by)
        assert [user.email for user in shown] == expected


async def test_merchants_are_listed_in_every_order(identity: Any) -> None:
    await fill(identity, "merchant", "suspended")
    listed = ask(identity, "ListMerchants")
    await check_orders(listed, MERCHANT_SORT_KEYS, "registered_at desc")
    await check_email(listed)
    suspended = await walk(listed, page_size=1, standing=Standing.STANDING_SUSPENDED, order_by="company_name")
    assert [merchant.company_name for merchant in suspended] == ["apple", "geo", "ärzte", "Österreich"]


async def test_consumers_are_listed_in_every_order(identity: Any) -> None:
    await fill(identity, "consumer", "blocked")
    listed = ask(identity, "ListConsumers")
    await check_orders(listed, CONSUMER_SORT_KEYS, "registered_at desc")
    await check_email(listed)


async def test_every_order_holds_while_consumers_come(identity: Any) -> None:
    await fill(identity, "consumer", "blocked")
    names = iter(["Middle", "aaa", "ZZZ"] * 100)

    async def come() -> None:
        await add(identity, "consumer", f"{uuid7()}@example.com", next(names), utc_now())

    await check_orders_while_rows_come(ask(identity, "ListConsumers"), CONSUMER_SORT_KEYS, come)


async def test_the_longest_names_and_addresses_fit_into_a_token(identity: Any) -> None:
    name, now = "𐓏" * 100, utc_now()
    for number in range(3):
        await add(identity, "merchant", f"{number}{'e' * 240}@example.com", name, now)
    for order_by in ("company_name", "email"):
        assert len(await walk(ask(identity, "ListMerchants"), page_size=1, order_by=order_by)) == 3


async def test_words_are_found_as_they_are_written_whatever_their_case(identity: Any) -> None:
    now = utc_now()
    await add(identity, "consumer", "ann_lee@example.com", "Änn 100%", now)
    await add(identity, "consumer", "annalee@example.com", r"Bob \o/", now)
    await add(identity, "merchant", "mia@example.com", "Änn", now)
    queries = ("ÄNN", "lee", "LEE bob", "n_l", "%", "\\o", "@EXAMPLE.com ann", "nobody", "_%")
    listed = ask(identity, "ListConsumers")
    found = {
        query: [c.email[:4] for c in await walk(listed, query=query, order_by="email")] for query in queries
    }
    assert found == {
        "ÄNN": ["ann_"],
        "lee": ["ann_", "anna"],
        "LEE bob": ["anna"],
        "n_l": ["ann_"],
        "%": ["ann_"],
        "\\o": ["anna"],
        "@EXAMPLE.com ann": ["ann_", "anna"],
        "nobody": [],
        "_%": [],
    }
    merchants = await walk(ask(identity, "ListMerchants"), query="änn mia@")
    assert [merchant.email for merchant in merchants] == ["mia@example.com"]


async def test_first_and_later_pages_are_answered_from_indexes(identity: Any) -> None:
    async with identity.servicer.database.connection() as connection:
        await connection.execute(
            """
            INSERT INTO users SELECT gen_random_uuid(), 'u' || n || '@example.com', 'Name ' || n, now()
            FROM generate_series(1, 5000) AS n;
            INSERT INTO user_roles SELECT user_id, 'consumer', 'active', now() - random() * interval '1 day'
            FROM users;
            """
        )
        await connection.execute("VACUUM ANALYZE")
    listed = ask(identity, "ListConsumers")
    for order_by, index in (
        ("name", "users_by_name"),
        ("email desc", "users_by_email"),
        ("registered_at", "user_roles_by_role"),
        ("standing", "user_roles_by_standing"),
    ):
        token = (await listed(order_by=order_by)).next_page_token
        for wanted in (PageRequest(order_by=order_by), PageRequest(token=token, order_by=order_by)):
            async with identity.servicer.database.connection() as connection:
                plan = await Store.queries.explain_page(
                    connection, "list_consumers", wanted, standing=None, words=[], patterns=[]
                )
            assert index in plan, plan
            assert "Sort" not in plan, plan
            assert not wanted.token or "ROW(" in plan.split("Index Cond", 1)[-1], plan
