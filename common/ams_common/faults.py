"""Faults that pass: what work in the background waits out instead of ending, or blaming a message for."""

import asyncpg
from aiokafka.errors import KafkaError


class TryAgainError(Exception):
    """Somebody else changed meanwhile what the work rests on; done again, it finds it as it is now."""


# PostgreSQL has ended a transaction that another one was in the way of. Nothing of it is left.
UNDONE_FAULTS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)

PASSING_FAULTS = (
    TryAgainError,
    OSError,  # the network; TimeoutError is one too
    KafkaError,
    asyncpg.InterfaceError,
    # asyncpg raises it when the server's farewell has been read and the connection's end hasn't.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # the server's shutdown, a cancelled statement
    asyncpg.InsufficientResourcesError,
    *UNDONE_FAULTS,
)
