from datetime import UTC, datetime, timedelta

import pytest
from ams.usage.v1 import usage_service_pb2 as pb
from ams_common.errors import InvalidArgumentError
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from usage_svc.messages import report_message
from usage_svc.reports import MAX_BUCKETS, MAX_POINTS, UsageRow, moment, report_range

NOW = datetime(2026, 11, 22, 12, 34, 56, 789, tzinfo=UTC)
BUCKETS = {pb.MINUTE: timedelta(minutes=1), pb.HOUR: timedelta(hours=1), pb.DAY: timedelta(days=1)}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("granularity", "start", "end"),
    [
        (pb.MINUTE, "2026-11-22 11:34", "2026-11-22 12:35"),
        (pb.HOUR, "2026-11-21 12:00", "2026-11-22 13:00"),
        (pb.DAY, "2026-10-23", "2026-11-23"),
        (pb.GRANULARITY_UNSPECIFIED, "2026-10-23", "2026-11-23"),
    ],
)
def test_without_edges_it_is_the_latest_span_of_the_granularity(
    granularity: pb.Granularity.ValueType, start: str, end: str
) -> None:
    chosen = report_range(None, None, granularity, NOW)
    assert (chosen.start, chosen.end) == (at(start), at(end))
    assert chosen.granularity == (granularity or pb.DAY)


def test_the_edges_are_moved_outwards_to_whole_buckets() -> None:
    chosen = report_range(at("2026-11-01 10:59:59"), at("2026-11-01 12:00:01"), pb.HOUR, NOW)
    assert (chosen.start, chosen.end) == (at("2026-11-01 10:00"), at("2026-11-01 13:00"))


def test_whole_buckets_stay_as_they_are() -> None:
    chosen = report_range(at("2026-11-01"), at("2026-12-01"), pb.DAY, NOW)
    assert (chosen.start, chosen.end) == (at("2026-11-01"), at("2026-12-01"))


def test_a_start_alone_reaches_to_now_and_an_end_alone_a_span_back() -> None:
    since = report_range(at("2026-11-22 10:00"), None, pb.HOUR, NOW)
    until = report_range(None, at("2026-11-10"), pb.HOUR, NOW)
    assert (since.start, since.end) == (at("2026-11-22 10:00"), at("2026-11-22 13:00"))
    assert (until.start, until.end) == (at("2026-11-09"), at("2026-11-10"))


@pytest.mark.parametrize("start", ["2026-11-02", "2026-11-03"])
def test_an_empty_range_is_invalid(start: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        report_range(at(start), at("2026-11-02"), pb.DAY, NOW)
    assert raised.value.code == "range_invalid"


@pytest.mark.parametrize("granularity", BUCKETS)
def test_1500_buckets_are_the_most(granularity: pb.Granularity.ValueType) -> None:
    start = at("2020-01-01")
    end = start + 1500 * BUCKETS[granularity]
    assert report_range(start, end, granularity, NOW).end == end
    with pytest.raises(InvalidArgumentError) as raised:
        report_range(start, end + timedelta(microseconds=1), granularity, NOW)
    assert raised.value.code == "range_too_large"


@given(
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.sampled_from(list(BUCKETS)),
)
def test_any_range_is_refused_or_covers_what_was_asked_in_whole_buckets(
    start: datetime | None, end: datetime | None, granularity: pb.Granularity.ValueType
) -> None:
    try:
        chosen = report_range(start, end, granularity, NOW)
    except InvalidArgumentError as error:
        assert error.code in ("range_invalid", "range_too_large")
        return
    bucket, epoch = BUCKETS[granularity], datetime(1970, 1, 1, tzinfo=UTC)
    assert (start is None or chosen.start <= start) and chosen.end >= (end or NOW)
    assert not (chosen.start - epoch) % bucket and not (chosen.end - epoch) % bucket
    assert 1 <= (chosen.end - chosen.start) // bucket <= MAX_BUCKETS


@pytest.mark.parametrize("seconds", [2**62, -(2**62), 253_402_300_800])
def test_a_time_that_no_calendar_has_is_invalid(seconds: int) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        moment(Timestamp(seconds=seconds), "start")
    assert raised.value.code == "range_invalid"


def test_a_report_adds_up_and_its_mean_is_weighted_by_requests() -> None:
    rows = [UsageRow(NOW, "2xx", 3, 3, 30, 300, 30), UsageRow(NOW, "5xx", 1, 0, 10, 0, 50)]
    answer = report_message(report_range(None, None, pb.HOUR, NOW), rows)
    assert [point.figures.mean_response_time_ms for point in answer.points] == [10, 50]
    assert answer.total == pb.UsageFigures(
        requests=4, billable_requests=3, request_bytes=40, response_bytes=300, mean_response_time_ms=20
    )


def test_a_report_without_requests_has_zeros() -> None:
    answer = report_message(report_range(None, None, pb.HOUR, NOW), [])
    assert answer.HasField("total") and answer.total == pb.UsageFigures() and not answer.points


def test_a_report_of_too_many_figures_is_refused() -> None:
    row = UsageRow(NOW, "2xx", 1, 1, 0, 0, 0)
    with pytest.raises(InvalidArgumentError) as raised:
        report_message(report_range(None, None, pb.HOUR, NOW), [row] * (MAX_POINTS + 1))
    assert raised.value.code == "range_too_large"
