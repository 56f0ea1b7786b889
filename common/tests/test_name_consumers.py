"""Pseudonyms: stable, different for each merchant, and no way back."""

from uuid import UUID

from ams_common.pseudonyms import Pseudonyms, is_key_pseudonym, is_pseudonym
from hypothesis import given
from hypothesis import strategies as st

MERCHANT_ID = UUID("01938f00-0000-7000-8000-00000000000a")
CONSUMER_ID = UUID("01938f00-0000-7000-8000-00000000000b")


def test_a_pseudonym_is_stable_over_releases() -> None:
    assert Pseudonyms("key").of_consumer(MERCHANT_ID, CONSUMER_ID) == "cst_fldp2khlqcdfx7qv"


def test_another_key_merchant_or_consumer_has_another_pseudonym() -> None:
    pseudonyms = Pseudonyms("key")
    names = {
        pseudonyms.of_consumer(MERCHANT_ID, CONSUMER_ID),
        pseudonyms.of_consumer(CONSUMER_ID, MERCHANT_ID),
        pseudonyms.of_consumer(MERCHANT_ID, MERCHANT_ID),
        Pseudonyms("other key").of_consumer(MERCHANT_ID, CONSUMER_ID),
    }
    assert len(names) == 4


@given(st.uuids(), st.uuids())
def test_every_pseudonym_has_the_form_of_one(merchant_id: UUID, consumer_id: UUID) -> None:
    assert is_pseudonym(Pseudonyms("key").of_consumer(merchant_id, consumer_id))


@given(st.uuids(), st.lists(st.uuids(), unique=True, min_size=1))
def test_a_consumer_is_found_by_their_pseudonym_among_others(merchant_id: UUID, ids: list[UUID]) -> None:
    pseudonyms = Pseudonyms("key")
    assert pseudonyms.find_consumers([pseudonyms.of_consumer(merchant_id, ids[0])], merchant_id, ids) == [
        ids[0]
    ]


@given(st.uuids(), st.uuids(), st.lists(st.uuids(), unique=True, min_size=1))
def test_a_key_has_another_name_for_each_merchant(one: UUID, other: UUID, ids: list[UUID]) -> None:
    pseudonyms = Pseudonyms("key")
    name = pseudonyms.of_key(one, ids[0])
    assert is_key_pseudonym(name) and not is_pseudonym(name)
    assert pseudonyms.find_keys([name], one, ids) == [ids[0]]
    assert (pseudonyms.of_key(other, ids[0]) == name) == (one == other)


def test_what_is_no_pseudonym_is_told_apart() -> None:
    good = Pseudonyms("key").of_consumer(MERCHANT_ID, CONSUMER_ID)
    for text in (
        "",
        "cst_",
        good.upper(),
        good + "a",
        good[:-1],
        good + "\n",
        str(CONSUMER_ID),
        "cst_" + "1" * 16,
    ):
        assert not is_pseudonym(text)
