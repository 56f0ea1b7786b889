"""Each service's role sees its own schema and nothing else (docs/architecture.md, Packages)."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest
from ams_common.provision import OWNERS, provision, unprovision


@dataclass(frozen=True)
class Provisioned:
    admin_url: str
    database: str
    owners: dict[str, str]
    urls: dict[str, str]


@pytest.fixture
async def provisioned(admin_database_url: str) -> AsyncIterator[Provisioned]:
    """A database and roles of this test's own; roles belong to the whole server, so they get own names."""
    database = f"provision_{secrets.token_hex(6)}"
    owners = {schema: f"{database}_{role}" for schema, role in OWNERS.items()}
    urls = await provision(admin_database_url, database, owners=owners)
    yield Provisioned(admin_database_url, database, owners, urls)
    await unprovision(admin_database_url, database, owners)


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def make_table_in_each_schema(provisioned: Provisioned) -> None:
    for url in provisioned.urls.values():
        await execute(url, "CREATE TABLE things (thing text)", "INSERT INTO things VALUES ('x')")


async def test_each_role_works_in_its_own_schema_without_naming_it(provisioned: Provisioned) -> None:
    await make_table_in_each_schema(provisioned)
    for schema, url in provisioned.urls.items():
        assert await value(url, "SELECT current_schema()") == schema
        assert await value(url, "SELECT current_user") == provisioned.owners[schema]
        assert await value(url, f"SELECT thing FROM {schema}.things") == "x"


async def test_no_role_reads_or_changes_or_creates_anything_in_anothers_schema(
    provisioned: Provisioned,
) -> None:
    await make_table_in_each_schema(provisioned)
    for own, url in provisioned.urls.items():
        for other in provisioned.urls.keys() - {own}:
            for statement in (
                f"SELECT * FROM {other}.things",
                f"INSERT INTO {other}.things VALUES ('y')",
                f"DELETE FROM {other}.things",
                f"CREATE TABLE {other}.intruder (thing text)",
                f"DROP SCHEMA {other} CASCADE",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await execute(url, statement)


async def test_no_role_creates_anything_in_public_or_a_schema_of_its_own_making(
    provisioned: Provisioned,
) -> None:
    for url in provisioned.urls.values():
        for statement in ("CREATE TABLE public.intruder (thing text)", "CREATE SCHEMA intruder"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await execute(url, statement)


async def test_no_role_becomes_another(provisioned: Provisioned) -> None:
    for own, url in provisioned.urls.items():
        for other in provisioned.owners.keys() - {own}:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await execute(url, f"SET ROLE {provisioned.owners[other]}")


async def test_a_stranger_cannot_connect_to_the_database(provisioned: Provisioned) -> None:
    stranger = f"{provisioned.database}_stranger"
    await execute(provisioned.admin_url, f"CREATE ROLE {stranger} LOGIN PASSWORD 'stranger'")
    try:
        own_role = provisioned.owners["keys"]
        url = provisioned.urls["keys"].replace(f"{own_role}:", f"{stranger}:", 1)
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidPasswordError)):
            await execute(url, "SELECT 1")
    finally:
        await execute(provisioned.admin_url, f"DROP ROLE {stranger}")


async def test_provisioning_again_keeps_the_data_and_takes_the_given_passwords(
    provisioned: Provisioned,
) -> None:
    await make_table_in_each_schema(provisioned)
    passwords = {"keys": 'it\'s a "quoted" \\ p@ss/word'}
    urls = await provision(
        provisioned.admin_url, provisioned.database, owners=provisioned.owners, passwords=passwords
    )
    assert await value(urls["keys"], "SELECT thing FROM things") == "x"
    stored = await value(
        provisioned.admin_url,
        f"SELECT rolpassword FROM pg_authid WHERE rolname = '{provisioned.owners['keys']}'",
    )
    assert str(stored).startswith("SCRAM-SHA-256$")
