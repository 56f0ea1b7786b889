"""What people ask of identity-svc is answered from indexes, however many people and records there are."""

from typing import Any

from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.paging import PageRequest, patterns_of
from ams_common.testing.plans import Question, check_list_plans
from identity_svc.audit_log import AuditStore
from identity_svc.notifications.store import NotificationStore
from identity_svc.platform_settings import SettingsStore
from identity_svc.projects.store import ProjectStore
from identity_svc.session_store import SessionStore
from identity_svc.sign_in_store import SignInStore
from identity_svc.store import Store
from identity_svc.team import TeamStore
from identity_svc.token_store import TokenStore

SOMEBODY = uuid7()


def _words(query: str) -> dict[str, Any]:
    return {"words": query.split(), "patterns": patterns_of(query)}


def _records(**chosen: Any) -> dict[str, Any]:
    names = ("actors", "action", "resource", "resource_id", "credential", "since", "before")
    return {**dict.fromkeys(names), **chosen}


async def test_no_list_reads_a_whole_table(database: Database[Store], identity: Any) -> None:
    now = identity.clock()
    questions: list[Question] = [
        (Store, "list_merchants", {"standing": None, "patterns": []}),
        (Store, "list_merchants", {"standing": "suspended", "patterns": ["%co%"]}),
        (Store, "list_consumers", {"standing": None, **_words("")}),
        (Store, "list_consumers", {"standing": "blocked", **_words("")}),
        (Store, "list_consumers", {"standing": None, **_words("ann mill")}),
        (Store, "list_invites", {"role": None}),
        (Store, "list_invites", {"role": "admin"}),
        (SessionStore, "list_sessions", {"user_id": SOMEBODY, "now": now}),
        (TokenStore, "list_tokens", {"user_id": SOMEBODY}),
        (SignInStore, "list_tries", {}),
        (AuditStore, "list_records", _records()),
        *(
            (AuditStore, "list_records", _records(**{name: "x"}))
            for name in ("action", "resource", "resource_id", "credential")
        ),
        (AuditStore, "list_records", _records(actors=["system", str(SOMEBODY)])),
        (AuditStore, "list_records", _records(since=now, before=now)),
        (TeamStore, "list_admins", {}),
        (SettingsStore, "list_settings", {}),
        (Store, "list_undelivered_mails", {}),
        (NotificationStore, "list_notifications", {"user_id": SOMEBODY, "category": None}),
        (NotificationStore, "list_unread", {"user_id": SOMEBODY, "category": None}),
        (ProjectStore, "list_projects", {"user_id": SOMEBODY, "with_closed": False}),
    ]
    stores = {store for store, _, _ in questions}
    async with database.connection() as connection:
        # The history of settings is what admins have changed by hand.
        await check_list_plans(connection, stores, questions, small={"platform_settings"})


async def test_what_is_asked_each_second_reads_the_ends_of_indexes(database: Database[Store]) -> None:
    async with database.connection() as connection:
        await connection.execute("SET enable_seqscan = off")
        plan = await Store.queries.explain(connection, "find_revisions")
    for index in ("token_ends_pkey", "user_roles_by_standing_version", "projects_by_version"):
        assert f"Index Only Scan Backward using {index}" in plan, plan
    assert "Seq Scan" not in plan and "Sort" not in plan, plan


async def test_people_are_found_through_what_is_in_their_names(database: Database[Store]) -> None:
    async with database.connection() as connection:
        await connection.execute(
            """
            INSERT INTO users (user_id, email, name, created_at)
            SELECT gen_random_uuid(), 'u' || n || '@example.com', 'Ann ' || md5(n::text), now()
            FROM generate_series(1, 3000) AS n;
            INSERT INTO user_roles (user_id, role, standing, granted_at)
            SELECT user_id, 'consumer', CASE WHEN email LIKE 'u77%' THEN 'blocked' ELSE 'active' END,
                created_at
            FROM users;
            """,
            timeout=600,
        )
        await connection.execute("VACUUM ANALYZE", timeout=600)
        for order_by in ("", "name", "email desc", "standing"):
            for chosen, index in (
                ({"standing": None, **_words("ann c4ca")}, "users_by_pieces"),
                ({"standing": None, **_words("zq")}, "users_by_pieces"),
                ({"standing": "blocked", **_words("")}, "user_roles_by_standing"),
            ):
                plan = await Store.queries.explain_page(
                    connection, "list_consumers", PageRequest(order_by=order_by), **chosen
                )
                assert index in plan and "Seq Scan" not in plan, plan
        plan = await AuditStore.queries.explain(connection, "find_people", **_words("c4ca"), limit=200)
        assert "users_by_pieces" in plan, plan
        # Pieces only narrow down: what is found is what has the words, whatever their length and case.
        for query in ("a", "77", "u77", "U77@EXAMPLE ann", "n c4", "ann c4ca4238", "%", "zq"):
            found = await AuditStore(connection).find_people(**_words(query), limit=5000)
            having = await connection.fetchval(
                "SELECT count(*) FROM users"
                " WHERE concat_ws(' ', email, name) COLLATE pg_c_utf8 ILIKE ALL ($1::text[])",
                patterns_of(query),
            )
            assert len(found) == having, query
