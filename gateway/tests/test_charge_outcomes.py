"""However a forwarded call ends, it is metered as what it was, and charged as its service's price says."""

import pytest
from ams.catalog.v1.pricing_pb2 import ChargeRule
from ams.usage.v1 import events_pb2 as usage
from ams_gateway.http import problems
from ams_gateway.http.problems import Problem
from ams_gateway.upstream.outcomes import is_free, outcome_of

ENDS = [each for each in vars(problems).values() if isinstance(each, Problem)]
OURS = [each for each in ENDS if each.code not in ("client_closed", "upstream_failed", "upstream_timeout")]


@pytest.mark.parametrize(
    ("reason", "answered", "metered"),
    [
        (problems.UPSTREAM_FAILED, 0, (502, usage.UPSTREAM_FAILED)),
        (problems.UPSTREAM_TIMEOUT, 0, (504, usage.UPSTREAM_FAILED)),
        (problems.CLIENT_CLOSED, 0, (499, usage.CLIENT_CLOSED)),
        (problems.BODY_TOO_LARGE, 0, (413, usage.REFUSED)),
        (problems.GATEWAY_STOPPING, 0, (503, usage.REFUSED)),
        (problems.UPSTREAM_FAILED, 200, (200, usage.BROKEN_OFF)),
        (problems.UPSTREAM_TIMEOUT, 404, (404, usage.BROKEN_OFF)),
        (problems.CLIENT_CLOSED, 200, (200, usage.ANSWERED)),
        (problems.KEY_REVOKED, 200, (200, usage.ANSWERED)),
        (problems.GATEWAY_STOPPING, 206, (206, usage.ANSWERED)),
    ],
)
def test_what_the_consumer_has_got_and_who_ended_it_say_what_a_call_was(
    reason: Problem, answered: int, metered: tuple[int, usage.Outcome.ValueType]
) -> None:
    assert outcome_of(reason, answered) == metered


@pytest.mark.parametrize("reason", OURS, ids=lambda each: each.code)
def test_what_we_ended_before_an_answer_is_charged_by_no_rule(reason: Problem) -> None:
    assert is_free(ChargeRule(), *outcome_of(reason, 0))


@pytest.mark.parametrize("reason", ENDS, ids=lambda each: each.code)
@pytest.mark.parametrize("status", [101, 200, 302, 404, 500])
def test_what_was_answered_is_charged_by_its_status_whoever_ended_it(reason: Problem, status: int) -> None:
    assert is_free(ChargeRule(), *outcome_of(reason, status)) == (status >= 500)
    gives_away = ChargeRule(is_client_error_free=True)
    assert is_free(gives_away, *outcome_of(reason, status)) == (status >= 400)


@pytest.mark.parametrize("is_abandoned_free", [False, True])
def test_an_abandoned_call_is_charged_unless_the_service_says_otherwise(is_abandoned_free: bool) -> None:
    rule = ChargeRule(is_abandoned_free=is_abandoned_free)
    assert is_free(rule, *outcome_of(problems.CLIENT_CLOSED, 0)) == is_abandoned_free
