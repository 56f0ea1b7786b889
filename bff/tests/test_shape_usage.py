"""Reports as charts, tables and files."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from ams.usage.v1 import usage_service_pb2 as pb
from ams_bff.ui.csv_files import csv_file
from ams_bff.usage.figures import (
    OTHERS,
    REST,
    change,
    columns_of,
    groups_of,
    points_of,
    starts_of,
)
from ams_common.clock import to_timestamp

START = datetime(2026, 11, 22, tzinfo=UTC)


def report(*points: tuple[int, str, int]) -> pb.UsageReport:
    """Of three hours; points: hour, group, requests."""
    totals = Counter[str]()
    for _, group, requests in points:
        totals[group] += requests
    return pb.UsageReport(
        start=to_timestamp(START),
        end=to_timestamp(START + timedelta(hours=3)),
        granularity=pb.HOUR,
        points=[
            pb.UsagePoint(
                bucket_start=to_timestamp(START + timedelta(hours=hour)),
                group=group,
                figures=pb.UsageFigures(requests=requests),
            )
            for hour, group, requests in points
        ],
        groups=[
            pb.GroupTotal(group=group, figures=pb.UsageFigures(requests=requests))
            for group, requests in totals.items()
        ],
    )


def test_hours_without_requests_stand_there_as_nothing() -> None:
    assert points_of(report((2, "a", 4), (2, "b", 1))) == [0, 0, 5]
    assert starts_of(report()) == [START + timedelta(hours=hour) for hour in range(3)]


def test_groups_stand_with_the_busiest_first_and_the_rest_last() -> None:
    groups = groups_of(report((0, "a", 1), (0, REST, 9), (0, "b", 1), (1, "b", 3)))
    assert [(group.name, group.figures.requests) for group in groups] == [("b", 4), ("a", 1), (REST, 9)]
    assert groups[0].points == (1, 3, 0)


def test_groups_beyond_what_a_chart_tells_apart_are_one_and_nothing_is_lost() -> None:
    for rest in ((), ((1, REST, 5),)):
        many = report(*((0, f"g{number}", 1 + number) for number in range(7)), *rest)
        names, columns = columns_of(groups_of(many), points_of(many), str.upper)
        assert (names[0], names[-1], len(names)) == ("G6", OTHERS, 6)
        assert [sum(values) for values in zip(*columns, strict=True)] == points_of(many)


def test_one_group_too_many_is_shown_rather_than_called_others() -> None:
    six = report(*((0, f"g{number}", 1) for number in range(6)))
    assert OTHERS not in columns_of(groups_of(six), points_of(six), str)[0]
    few = report((0, "a", 1), (0, REST, 2))
    assert columns_of(groups_of(few), points_of(few), str) == (["a", OTHERS], [[1, 0, 0], [2, 0, 0]])


def test_no_requests_are_one_empty_line() -> None:
    assert columns_of([], points_of(report()), str) == (["Requests"], [[0, 0, 0]])


def test_there_is_no_change_against_nothing() -> None:
    assert change(5, 0) is None
    assert change(15, 10) == 0.5


def test_no_cell_of_a_file_is_a_formula() -> None:
    answer = csv_file("x", ("name", "requests"), [('=HYPERLINK("evil")', 1), ("a,b", -2)])
    assert bytes(answer.body).decode().splitlines() == [
        "name,requests",
        '"\'=HYPERLINK(""evil"")",1',
        '"a,b",-2',
    ]
    assert answer.headers["content-disposition"] == 'attachment; filename="x.csv"'
