"""Faults that pass: what work in the background waits out instead of ending, or blaming a message for."""

import asyncpg
from aiokafka.errors import KafkaError

PASSING_FAULTS = (
    OSError,  # the network; TimeoutError is one too
    KafkaError,
    asyncpg.InterfaceError,
    # asyncpg raises it when the server's farewell has been read and the connection's end hasn't.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # the server's shutdown, a cancelled statement
    asyncpg.InsufficientResourcesError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
