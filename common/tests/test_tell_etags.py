"""Which state a message tells, and what is said to who has seen another."""

from typing import Any

import pytest
from ams.catalog.v1 import catalog_service_pb2 as catalog_pb
from ams.catalog.v1.pricing_pb2 import PriceVersion
from ams.keys.v1 import keys_service_pb2 as pb
from ams_common.errors import AbortedError
from ams_common.etags import check_etag, tag
from hypothesis import given
from hypothesis import strategies as st


def tagged(**fields: Any) -> pb.Key:
    key = pb.Key(**fields)
    tag(key)
    return key


@given(st.text(), st.text(), st.lists(st.text()), st.lists(st.text()))
def test_an_etag_is_another_exactly_when_something_else_is(
    name: str, other: str, services: list[str], others: list[str]
) -> None:
    one, two = tagged(name=name, service_ids=services), tagged(name=other, service_ids=others)
    assert (one.etag == two.etag) == ((name, services) == (other, others))
    assert len(one.etag) == 32 and one.etag.isalnum()


def test_what_was_tagged_before_is_tagged_alike() -> None:
    key = tagged(name="ci")
    before = key.etag
    tag(key)
    assert key.etag == before


@pytest.mark.parametrize("is_wrapped", [True, False])
def test_resources_are_tagged_wherever_they_stand(is_wrapped: bool) -> None:
    etag = tagged(name="ci").etag
    answer: Any = (
        pb.CreateKeyResponse(key=pb.Key(name="ci"), secret="s")
        if is_wrapped
        else pb.ListKeysResponse(keys=[pb.Key(name="a"), pb.Key(name="ci")])
    )
    tag(answer)
    found = answer.key if is_wrapped else answer.keys[1]
    assert found.etag == etag
    empty = pb.CreateKeyResponse()
    tag(empty)
    assert not empty.HasField("key")


def test_a_list_is_tagged_by_what_is_in_it() -> None:
    none, one = catalog_pb.ListPricesResponse(), catalog_pb.ListPricesResponse(prices=[PriceVersion()])
    tag(none)
    tag(one)
    assert "" != none.etag != one.etag


def test_any_of_the_etags_that_are_given_will_do_and_none_asks_for_nothing() -> None:
    key = tagged(name="ci")
    for given_etag in ("", key.etag, f"x,{key.etag}", f"{key.etag},x"):
        check_etag(given_etag, pb.Key(name="ci"))
    for given_etag in ("x", "-", "*", ",", key.etag[:-1], f"{key.etag}x", key.etag.upper() + "x"):
        with pytest.raises(AbortedError) as refused:
            check_etag(given_etag, pb.Key(name="ci"))
        assert (refused.value.code, refused.value.http_status) == ("etag_mismatch", 412)
