import logging
from typing import Any

import pytest
from ams_common import apikeys
from ams_common.errors import FailedPreconditionError
from ams_common.ids import uuid7
from ams_common.logs import JsonFormatter


def places_of(text: str, rows: dict[str, str]) -> set[str]:
    """The tables that hold `text`, as text or as bytes."""
    in_hex = text.encode().hex()
    return {table for table, content in rows.items() if text in content or in_hex in content}


async def test_a_secret_is_in_no_row_and_no_log(
    consumer: Any, grant: Any, gateway: Any, written: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fields = {"name": "ci", "service_ids": [await grant(consumer)], "ttl_days": 1, "idempotency_key": "a"}
    created = await consumer("CreateKey", **fields)
    await consumer("CreateKey", **fields)
    with pytest.raises(FailedPreconditionError):
        await consumer("CreateKey", name="ci", service_ids=[str(uuid7())], ttl_days=1)
    await consumer("GetKey", key_id=created.key.key_id)
    await gateway("GetKeySnapshot", key_hash=apikeys.hash_key(created.secret))
    await consumer("RevokeKey", key_id=created.key.key_id)

    rows = await written.everything()
    logged = "\n".join(map(JsonFormatter("keys-svc").format, caplog.records))
    hidden = created.secret[apikeys.VISIBLE_LENGTH : apikeys.CHECKED_LENGTH]
    assert places_of(hidden, rows) == set()
    assert hidden not in logged
    # The same search does find what is there: in text, in audit records and snapshots, in the answer kept.
    assert places_of(created.key.key_prefix, rows) == {"keys", "outbox", "idempotent_answers"}
    assert "CreateKey" in logged


async def test_only_creating_shows_a_secret(consumer: Any, new_key: Any) -> None:
    created = await new_key(consumer)
    hidden = created.secret[apikeys.VISIBLE_LENGTH :]
    for answer in (
        await consumer("GetKey", key_id=created.key.key_id),
        await consumer("ListKeys"),
        await consumer("RevokeKey", key_id=created.key.key_id),
    ):
        assert hidden not in str(answer)
