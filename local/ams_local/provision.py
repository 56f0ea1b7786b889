"""The database of AMS on this machine: its roles get passwords that the keyring keeps."""

import asyncio

from ams_common.provision import OWNERS, provision

from ams_local.keyring import Keyring


def prepare_database(admin_url: str, keyring: Keyring, database: str = "ams") -> dict[str, str]:
    """Each schema's URL, for its own role. What is there stays; see ams_common.provision."""
    passwords = {schema: keyring.secret(f"database {schema}") for schema in OWNERS}
    return asyncio.run(provision(admin_url, database, passwords=passwords))
