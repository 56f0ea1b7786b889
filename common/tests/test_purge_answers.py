from ams_common.database import Database
from ams_common.retention import purge_batch


async def test_only_answers_past_their_time_are_purged(database: Database) -> None:
    async with database.change_by_system("test", audited=False) as change:
        await change.connection.execute(
            "INSERT INTO idempotent_answers"
            " SELECT 'a', 'm', age::text, '', '', now() - age * interval '1 day'"
            " FROM generate_series(1, 10) AS age"
        )
    assert await purge_batch(database) == 4  # 7 days to 10: the seventh is over by now
    assert await purge_batch(database) == 0
    async with database.connection() as connection:
        left = await connection.fetch("SELECT idempotency_key FROM idempotent_answers ORDER BY 1")
    assert [row["idempotency_key"] for row in left] == ["1", "2", "3", "4", "5", "6"]
