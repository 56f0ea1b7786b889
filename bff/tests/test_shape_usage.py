"""Reports as charts, tables and files."""

from datetime import UTC, datetime, timedelta

from ams.usage.v1 import usage_service_pb2 as pb
from ams_bff.ui.csv_files import csv_file
from ams_bff.usage.figures import (
    OTHERS,
    change,
    columns_of,
    groups_of,
    points_of,
    span_ending,
    starts_of,
)
from ams_common.clock import to_timestamp

START = datetime(2026, 11, 22, tzinfo=UTC)


def report(*points: tuple[int, str, int, float]) -> pb.UsageReport:
    """Of three hours; points: hour, group, requests, mean time in ms."""
    return pb.UsageReport(
        start=to_timestamp(START),
        end=to_timestamp(START + timedelta(hours=3)),
        granularity=pb.HOUR,
        points=[
            pb.UsagePoint(
                bucket_start=to_timestamp(START + timedelta(hours=hour)),
                group=group,
                figures=pb.UsageFigures(requests=requests, mean_response_time_ms=mean_ms),
            )
            for hour, group, requests, mean_ms in points
        ],
    )


def test_hours_without_requests_stand_there_as_nothing() -> None:
    assert points_of(report((2, "a", 4, 1), (2, "b", 1, 1))) == [0, 0, 5]
    assert starts_of(report()) == [START + timedelta(hours=hour) for hour in range(3)]


def test_groups_stand_with_the_busiest_first_and_means_weigh_by_requests() -> None:
    groups = groups_of(report((0, "a", 1, 10.0), (0, "b", 1, 10.0), (1, "b", 3, 2.0)))
    assert [(group.name, group.requests, group.response_time_ms) for group in groups] == [
        ("b", 4, 4.0),
        ("a", 1, 10.0),
    ]
    assert groups[0].points == (1, 3, 0)


def test_groups_beyond_what_a_chart_tells_apart_are_one_and_nothing_is_lost() -> None:
    seven = report(*((hour, f"g{hour}{n}", 1 + n, 1.0) for n in range(7) for hour in (0,)))
    names, columns = columns_of(seven, groups_of(seven), str.upper)
    assert (names[0], names[-1], len(names)) == ("G06", OTHERS, 6)
    assert [sum(values) for values in zip(*columns, strict=True)] == points_of(seven)


def test_no_requests_are_one_empty_line() -> None:
    assert columns_of(report(), [], str) == (["Requests"], [[0, 0, 0]])


def test_a_span_ends_with_the_bucket_of_now() -> None:
    now = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    assert span_ending(now, pb.HOUR, 24) == (
        datetime(2026, 11, 21, 10, tzinfo=UTC),
        datetime(2026, 11, 22, 10, tzinfo=UTC),
    )
    assert span_ending(now, pb.DAY, 1) == (START, START + timedelta(days=1))


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
