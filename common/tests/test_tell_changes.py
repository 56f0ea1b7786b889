"""What an audit record tells of a change: every field that differs, no secret, nothing else."""

from decimal import Decimal

from ams.catalog.v1 import catalog_service_pb2 as pb
from ams.catalog.v1.events_pb2 import ACTIVE, DRAFT
from ams_common.field_changes import MASK, field_change, field_changes
from ams_common.money import to_money
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
SERVICES = st.builds(
    pb.Service,
    name=NAMES,
    status=st.sampled_from([DRAFT, ACTIVE]),
    tags=st.lists(NAMES, max_size=3),
    rate_limit_per_minute=st.integers(0, 9),
    is_submittable=st.booleans(),
)


def told(before: pb.Service, after: pb.Service, **options: list[str]) -> list[tuple[str, str, str]]:
    return [(each.field, each.before, each.after) for each in field_changes(before, after, **options)]


def test_each_kind_of_field_is_told_as_a_person_reads_it() -> None:
    before = pb.Service(name="Geo", status=DRAFT, tags=["a", "b"], rate_limit_per_minute=0)
    after = pb.Service(name="Geo 2", status=ACTIVE, tags=["b"], rate_limit_per_minute=60, is_submittable=True)
    after.created_at.FromJsonString("2026-11-29T12:00:00Z")
    after.forwarding.quota_per_day = 5
    assert told(before, after) == [
        ("name", "Geo", "Geo 2"),
        ("status", "DRAFT", "ACTIVE"),
        ("tags", "a, b", "b"),
        ("rate_limit_per_minute", "0", "60"),
        ("is_submittable", "no", "yes"),
        ("created_at", "", "2026-11-29T12:00:00Z"),
        *((f"forwarding.{name}", "", value) for name, value in _set_forwarding(after)),
    ]


def _set_forwarding(service: pb.Service) -> list[tuple[str, str]]:
    """All fields of a message that wasn't there before."""
    return [
        (c.field.removeprefix("forwarding."), c.after)
        for c in field_changes(pb.Service(), service)
        if c.field.startswith("forwarding.")
    ]


def test_prices_are_told_by_the_path_of_each_part() -> None:
    before, after = pb.Service(), pb.Service()
    for service, amount in ((before, "0.5"), (after, "0.75")):
        component = service.price.components.add()
        component.per_unit.amount.CopyFrom(to_money(Decimal(amount), "EUR"))
    [(path, old, new)] = told(before, after)
    assert path.startswith("price.components[0].")
    assert (old, new) == ("0.5 EUR", "0.75 EUR")


def test_only_the_fields_that_are_asked_for_are_told() -> None:
    before, after = pb.Service(name="a", version="1"), pb.Service(name="b", version="2")
    assert told(before, after, only=["version"]) == [("version", "1", "2")]


def test_a_secret_is_told_of_and_never_told() -> None:
    before, after = pb.Service(name="hunter2"), pb.Service(name="hunter3")
    assert told(before, after, masked=["name"]) == [("name", MASK, MASK)]
    assert told(pb.Service(), after, masked=["name"]) == [("name", "", MASK)]


@given(SERVICES, SERVICES)
def test_what_is_told_is_exactly_what_differs(before: pb.Service, after: pb.Service) -> None:
    changes = field_changes(before, after)
    fields = ("name", "status", "tags", "rate_limit_per_minute", "is_submittable")
    differing = {f for f in fields if getattr(before, f) != getattr(after, f)}
    # Lists that read alike (["a, b"] and ["a", "b"]) are told as the same.
    assert {change.field for change in changes} | {"tags"} == differing | {"tags"}
    assert field_changes(after, after) == []
    assert [(c.field, c.after, c.before) for c in changes] == told(after, before)


def test_long_texts_and_long_lists_are_cut() -> None:
    [change] = field_changes(pb.Service(), pb.Service(description="x" * 5000))
    assert len(change.after) == 1001
    assert field_change("at", None, 5).before == ""
