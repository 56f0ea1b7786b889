"""The invariants of money, as queries that must find nothing (invariants.sql)."""

import re
from importlib.resources import files

from ams_common.database import Database

_QUERY = re.compile(r"^-- invariant: (.+)$", re.MULTILINE)
_SHOWN = 20


def load_invariants() -> dict[str, str]:
    """The queries, by what they hold."""
    parts = _QUERY.split((files("billing_svc") / "invariants.sql").read_text())[1:]
    return {name: sql.strip().rstrip(";") for name, sql in zip(parts[::2], parts[1::2], strict=True)}


async def check_invariants(database: Database) -> list[str]:
    """A line for each row that breaks one, of each at most twenty; all as of one moment."""
    broken = []
    async with database.read() as store:
        for name, sql in load_invariants().items():
            rows = await store.connection.fetch(f"{sql} LIMIT {_SHOWN}", timeout=600)
            broken += [f"{name}: {dict(row)}" for row in rows]
    return broken
