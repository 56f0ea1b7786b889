import asyncio
import secrets

import pytest
from ams_common.provision import OWNERS, provision


@pytest.fixture(scope="session")
def provisioned(admin_database_url: str) -> dict[str, str]:
    """A database of AMS: the URL of each schema, for roles of its own."""
    database = f"alone_{secrets.token_hex(6)}"
    owners = {schema: f"{database}_{role}" for schema, role in OWNERS.items()}
    return asyncio.run(provision(admin_database_url, database, owners=owners))
