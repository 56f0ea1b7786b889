"""What holds for the plan of every list: however many rows there are, it reads a bounded part of them, or
walks along an index in the list's order."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import asyncpg

from ams_common.paging import PageRequest
from ams_common.queries import QueryStore

# A store, a list of it, and what is asked of that.
Question = tuple[type[QueryStore], str, Mapping[str, Any]]

# Tables may be empty: an index is taken, and each row of a join looked up, wherever that can be had.
_PLAN_AS_IF_LARGE = """
SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
SET LOCAL plan_cache_mode = force_custom_plan
"""
_SCAN = re.compile(r"(?:Seq|Index|Index Only|Bitmap Index) Scan(?: Backward)?(?: using \w+)? on (\w+)")


async def check_list_plans(
    connection: asyncpg.Connection,
    stores: Iterable[type[QueryStore]],
    questions: Sequence[Question],
    small: Collection[str] = (),
) -> None:
    """Each question in every order, both ways, and that no list of the stores is left out. Tables that always
    have few rows are `small`."""
    listed = {(store, name) for store in stores for name in store.queries.orders_of()}
    left_out = listed - {(store, name) for store, name, _ in questions}
    assert not left_out, f"lists without a question: {sorted(name for _, name in left_out)}"
    found = {}
    async with connection.transaction(readonly=True):
        await connection.execute(_PLAN_AS_IF_LARGE)
        for store, name, values in questions:
            for order_by in store.queries.orders_of()[name]:
                plan = await store.queries.explain_page(
                    connection, name, PageRequest(order_by=order_by), **values
                )
                if read_whole(plan) - set(small):
                    found[f"{name} {order_by} {sorted(map(str, values.items()))}"] = plan
    assert not found, "\n\n".join(f"{asked}:\n{plan}" for asked, plan in found.items())


def read_whole(plan: str) -> set[str]:
    """The tables or indexes that a plan reads from end to end: one after the other, or only to be sorted."""
    # What is sorted in a subplan of the rows that are shown is bounded with them.
    is_sorted = "Sort Key:" in plan.partition("SubPlan ")[0]
    whole = set()
    for node in re.split(r"^ *->", plan, flags=re.MULTILINE):
        scan = _SCAN.search(node)
        if scan and "Index Cond:" not in node and ("Seq Scan" in node or is_sorted):
            whole.add(scan.group(1))
    return whole
