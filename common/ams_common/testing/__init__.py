"""Test fixtures on real servers: PostgreSQL, Redis and Kafka, whose addresses `make test` puts into
DATABASE_URL (an administrator's), REDIS_URL and KAFKA_BOOTSTRAP_SERVERS.

A room's conftest.py says which schema it owns:

    @pytest.fixture(scope="session")
    def schema() -> Schema:
        return Schema("keys", "keys_svc")
"""
