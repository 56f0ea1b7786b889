"""Where a service goes on reading: the table consumer_offsets, moved in the transaction of the effects."""

import logging

import asyncpg

log = logging.getLogger(__name__)


async def start(
    connection: asyncpg.Connection, topic: str, partition: int, incarnation: str, end_offset: int
) -> int:
    """Where to go on in this incarnation of the topic, which ends before `end_offset`: at its beginning if it
    isn't the one that was read before. Deduplication is by id then."""
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO consumer_offsets (topic, partition, incarnation, next_offset) VALUES ($1, $2, $3, 0)"
            " ON CONFLICT DO NOTHING",
            topic,
            partition,
            incarnation,
        )
        known, next_offset = await connection.fetchrow(
            "SELECT incarnation, next_offset FROM consumer_offsets"
            " WHERE topic = $1 AND partition = $2 FOR UPDATE",
            topic,
            partition,
        )
        # Where no incarnation was kept, only an offset behind the end shows a topic made anew. It shows one
        # that has lost its end too.
        is_anew = (known is not None and known != incarnation) or next_offset > end_offset
        if is_anew:
            log.critical(
                "topic was made anew: it is read from its beginning",
                extra={"topic": topic, "offset": next_offset},
            )
            next_offset = 0
        await connection.execute(
            "UPDATE consumer_offsets SET incarnation = $3, next_offset = $4"
            " WHERE topic = $1 AND partition = $2",
            topic,
            partition,
            incarnation,
            next_offset,
        )
    return int(next_offset)


async def lock(connection: asyncpg.Connection, topic: str, partition: int, incarnation: str) -> int | None:
    """Where to go on; None when another incarnation is read by now. The row stays locked, so a second process
    with the same partition waits and then finds it moved on."""
    offset: int | None = await connection.fetchval(
        "SELECT next_offset FROM consumer_offsets"
        " WHERE topic = $1 AND partition = $2 AND incarnation = $3 FOR UPDATE",
        topic,
        partition,
        incarnation,
    )
    return offset


async def store(connection: asyncpg.Connection, topic: str, partition: int, next_offset: int) -> None:
    await connection.execute(
        "UPDATE consumer_offsets SET next_offset = $3 WHERE topic = $1 AND partition = $2",
        topic,
        partition,
        next_offset,
    )
