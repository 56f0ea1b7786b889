import hashlib
from decimal import Decimal
from typing import Any

import pytest
from ams.keys.v1.events_pb2 import KeySnapshot, SpendCap
from ams_common.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.money import to_decimal, to_money
from ams_common.snapshots import key_snapshot_key
from ams_rating.currencies import MINOR_UNIT_DIGITS
from google.type.money_pb2 import Money
from hypothesis import given
from hypothesis import strategies as st
from keys_svc.spend_caps import MAX_AMOUNT, cap_in, cap_of, columns_of

TEN_EUROS = Money(currency_code="EUR", units=10)
TWENTY_DOLLARS = Money(currency_code="USD", units=20, nanos=500_000_000)


async def last_snapshot(written: Any, created: Any) -> KeySnapshot:
    key_hash = hashlib.sha256(created.secret.encode()).digest()
    snapshots: list[KeySnapshot] = await written.snapshots(key_snapshot_key(key_hash))
    return snapshots[-1]


def caps(snapshot: KeySnapshot) -> dict[int, Money]:
    return {cap.scope: cap.amount for cap in snapshot.spend_caps}


async def test_a_key_is_made_with_a_cap_that_the_gateways_get(
    consumer: Any, grant: Any, written: Any
) -> None:
    created = await consumer(
        "CreateKey", name="ci", service_ids=[await grant(consumer)], ttl_days=1, spend_cap=TEN_EUROS
    )
    assert created.key.spend_cap == TEN_EUROS
    assert await consumer("GetKey", key_id=created.key.key_id) == created.key
    assert list((await consumer("ListKeys")).keys) == [created.key]
    assert caps(await last_snapshot(written, created)) == {SpendCap.KEY: TEN_EUROS}


async def test_a_keys_cap_is_replaced_and_taken_away(consumer: Any, new_key: Any, written: Any) -> None:
    created, other = await new_key(consumer), await new_key(consumer)
    assert not created.key.HasField("spend_cap")
    for amount in (TEN_EUROS, TWENTY_DOLLARS):
        capped = await consumer("SetKeySpendCap", key_id=created.key.key_id, amount=amount)
        assert capped.spend_cap == amount
        assert await consumer("GetKey", key_id=created.key.key_id) == capped
        assert caps(await last_snapshot(written, created)) == {SpendCap.KEY: amount}
    uncapped = await consumer("SetKeySpendCap", key_id=created.key.key_id)
    assert uncapped == created.key
    assert caps(await last_snapshot(written, created)) == {}
    assert caps(await last_snapshot(written, other)) == {}
    audits = await written.audits("key.set_spend_cap")
    assert [record.details["spend_cap"] for record in audits] == ["10 EUR", "20.5 USD", "none"]
    assert {(record.actor, record.resource_id) for record in audits} == {
        (str(consumer.user_id), created.key.key_id)
    }


async def test_a_consumers_cap_reaches_all_its_keys_and_those_made_later(
    consumer: Any, outsider: Any, new_key: Any, written: Any
) -> None:
    first, theirs = await new_key(consumer), await new_key(outsider)
    assert not (await consumer("GetSpendCap")).HasField("amount")
    assert (await consumer("SetSpendCap", amount=TEN_EUROS)).amount == TEN_EUROS
    assert (await consumer("GetSpendCap")).amount == TEN_EUROS
    assert not (await outsider("GetSpendCap")).HasField("amount")
    later = await new_key(consumer)
    await consumer("SetKeySpendCap", key_id=later.key.key_id, amount=TWENTY_DOLLARS)
    assert caps(await last_snapshot(written, first)) == {SpendCap.CONSUMER: TEN_EUROS}
    assert caps(await last_snapshot(written, later)) == {
        SpendCap.KEY: TWENTY_DOLLARS,
        SpendCap.CONSUMER: TEN_EUROS,
    }
    assert caps(await last_snapshot(written, theirs)) == {}
    assert not (await consumer("SetSpendCap")).HasField("amount")
    assert caps(await last_snapshot(written, first)) == {}
    assert len(await written.audits("consumer.set_spend_cap")) == 2


async def test_a_cap_stays_when_the_standing_changes(
    consumer: Any, new_key: Any, apply_standing: Any, written: Any
) -> None:
    created = await new_key(consumer)
    await consumer("SetSpendCap", amount=TEN_EUROS)
    await apply_standing(consumer.user_id, 3)
    assert caps(await last_snapshot(written, created)) == {SpendCap.CONSUMER: TEN_EUROS}


async def test_somebody_elses_key_answers_as_none_and_a_revoked_one_gets_no_cap(
    consumer: Any, outsider: Any, new_key: Any, written: Any
) -> None:
    key_id = (await new_key(consumer)).key.key_id
    for wanted in (key_id, str(uuid7())):
        with pytest.raises(NotFoundError) as refused:
            await outsider("SetKeySpendCap", key_id=wanted, amount=TEN_EUROS)
        assert refused.value.code == "key_not_found"
    await consumer("RevokeKey", key_id=key_id)
    with pytest.raises(FailedPreconditionError) as late:
        await consumer("SetKeySpendCap", key_id=key_id, amount=TEN_EUROS)
    assert late.value.code == "key_already_revoked"
    assert await written.audits("key.set_spend_cap") == []


BAD_AMOUNTS = [
    Money(),
    Money(units=1),
    Money(currency_code="EUR"),
    Money(currency_code="EUR", units=-1),
    Money(currency_code="EUR", units=1, nanos=-1),
    Money(currency_code="EUR", nanos=2_000_000_000),
    Money(currency_code="EUR", units=int(MAX_AMOUNT), nanos=1),
    Money(currency_code="EUR", units=2**63 - 1),
    Money(currency_code="eur", units=1),
    Money(currency_code="XXX", units=1),
    Money(currency_code="E" * 100_000, units=1),
]


async def test_what_is_no_amount_is_refused_everywhere_and_named(
    consumer: Any, grant: Any, new_key: Any, team: Any, written: Any
) -> None:
    key_id = (await new_key(consumer)).key.key_id
    creating = {"name": "ci", "service_ids": [await grant(consumer)], "ttl_days": 1}
    for bad in BAD_AMOUNTS:
        capping = {"project_id": str(team.project_id), "amount": bad}
        with pytest.raises(InvalidArgumentError) as of_project:
            await team.owner("SetProjectSpendCap", **capping)
        assert of_project.value.code == "spend_cap_invalid"
        for method, fields, named in (
            ("CreateKey", {**creating, "spend_cap": bad}, "spendCap"),
            ("SetKeySpendCap", {"key_id": key_id, "amount": bad}, "amount"),
            ("SetSpendCap", {"amount": bad}, "amount"),
        ):
            with pytest.raises(InvalidArgumentError) as refused:
                await consumer(method, **fields)
            assert refused.value.code == "spend_cap_invalid"
            assert [violation.field.split(".")[0] for violation in refused.value.violations] == [named]
    assert await written.count("keys") == 1
    assert not (await consumer("GetSpendCap")).HasField("amount")


@given(
    st.decimals(min_value=Decimal("0.000000001"), max_value=MAX_AMOUNT, places=9),
    st.sampled_from(sorted(MINOR_UNIT_DIGITS)),
)
def test_every_amount_that_can_be_said_is_kept_exactly(amount: Decimal, currency: str) -> None:
    cap = cap_of(to_money(amount, currency), "amount")
    assert cap_in(columns_of(cap)) == cap
    assert to_decimal(cap.to_money()) == amount
    assert cap.to_money().currency_code == currency
