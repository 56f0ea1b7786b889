import pytest
from ams_common.testing.plugin import Schema


@pytest.fixture(scope="session")
def schema() -> Schema:
    """A schema with nothing but the common tables."""
    return Schema("common_test", "ams_common")
