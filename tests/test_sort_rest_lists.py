"""Lists sort by what the OpenAPI document says, and by nothing else."""

import re
import secrets

from ams_local.rest import JSON, People, Rest
from support.running_system import ADMIN_EMAIL

# The refusal of an order, which names those that there are.
_NAMES = re.compile(r"must be one of ([a-z_, ]+), with")


async def test_lists_sort_by_what_the_document_says_and_by_nothing_else(rest: Rest, people: People) -> None:
    tag = secrets.token_hex(4)
    admin = await people.signed_in(ADMIN_EMAIL)
    merchant = await people.register_merchant(admin, f"merchant-{tag}@example.com", f"Maps {tag}")
    consumer = await people.register_consumer(f"consumer-{tag}@example.com")
    document = await rest.get("/openapi.json")
    lists = {path: orders for path, item in document["paths"].items() if (orders := _orders(item))}
    assert len(lists) >= 8
    for path, orders in lists.items():
        # By relevance to words.
        words = {"query": "maps"} if "relevance" in orders else {}
        path = path.removeprefix("/api/v1")
        [asking, *_] = [
            each for each in (admin, merchant, consumer) if (await each.ask("GET", path)).status == 200
        ]
        for order_by in orders:
            await asking.get(path, orderBy=order_by, **words)
        refused = await asking.ask("GET", path, params={"orderBy": "nothing", **words})
        assert refused.body["code"] == "order_by_invalid", path
        names = _NAMES.match(refused.body["errors"][0]["description"])
        assert names is not None, refused.text
        assert set(names[1].split(", ")) == {order.removesuffix(" desc") for order in orders}, path


def _orders(item: JSON) -> list[str]:
    parameters = item.get("get", {}).get("parameters", [])
    return next((each["schema"]["enum"] for each in parameters if each["name"] == "orderBy"), [])
