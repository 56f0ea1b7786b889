"""The demo marketplace shows what a price can be."""

from ams_local import demo
from ams_rating.prices import Graduated, Meter, MonthlyFee, Packages, PerUnit, Volume, problems_of

OFFERS = [offer for merchant in demo.MERCHANTS for offer in merchant.offers]


def test_every_way_to_price_a_service_is_shown_by_a_price_that_can_be_billed() -> None:
    components = [component for offer in OFFERS for component in offer.price.components]
    schemes = {type(component.scheme) for component in components}
    assert schemes == {PerUnit, Graduated, Volume, Packages, MonthlyFee}
    assert any(not offer.price.components for offer in OFFERS)
    assert any(len(offer.price.components) > 1 for offer in OFFERS)
    assert [problem for offer in OFFERS for problem in problems_of(offer.price)] == []


def test_images_are_priced_by_execution_and_what_is_called_is_not() -> None:
    for offer in OFFERS:
        meters = {component.meter for component in offer.price.components}
        assert (Meter.EXECUTIONS in meters) == (offer.type == "DOCKER")


def test_people_call_only_what_can_be_called() -> None:
    for consumer in demo.CONSUMERS:
        assert all(demo.offer(slug).method for slug in consumer.uses)
