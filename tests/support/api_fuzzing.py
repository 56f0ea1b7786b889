"""The REST API against its OpenAPI document, by schemathesis: requests that the document allows and such that
it doesn't, and chains of calls where one's answer is the next one's input."""

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode, engine
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    HealthCheck,
    PhasesConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.core.failures import Failure
from schemathesis.engine import events
from schemathesis.openapi.checks import RejectedPositiveData

# An access token lasts ten minutes.
_TOKEN_S = 240
# Refusals of requests that keep to the document, for it can't say what they ask: how fields of one request go
# together, or what somebody else's list holds. Each has a code of its own; what a single field may hold is
# `invalid_argument`, and has to be in the document.
_BEYOND_SCHEMAS: Mapping[str, str] = {
    "page_token_invalid": "only what a list gave out goes on with it",
    "order_by_invalid": "by relevance only with a query",
    "idempotency_key_reused": "by an earlier request",
    # Which fields go together.
    "range_invalid": "a start before its end",
    "range_too_large": "an end not too far from its start",
    "price_invalid": "amounts of one currency of ISO 4217, tiers that rise",
    "update_mask_invalid": "some fields are set when a thing is made, and later by calls of their own",
    "field_required": "a mask that names a field goes with its value",
    "key_expiry_invalid": "a number of days or a fixed end",
    "threshold_invalid": "decimals in one order, of a metric that may be whole",
    "alert_rule_invalid": "a currency for spend, least requests for error rates",
    "credential_invalid": "the name of a header for one kind, user and password for another",
    "day_required": "a day or a call",
    "filter_required": "a consumer or a service",
    "merchant_required": "of admins who are no merchants",
    # What depends on who asks, and when.
    "filter_not_offered": "merchants don't filter by what they may not see",
    "consumer_invalid": "an id for admins, a pseudonym for merchants",
    "project_role_invalid": "an owner is made by handing over",
    "category_required": "what concerns security can't be turned off",
    "last_day_invalid": "a day that is over",
    "starts_in_invalid": "a month to come",
    "setting_invalid": "each setting has bounds of its own",
    # Texts of forms that take more than a pattern.
    "allowed_calls_invalid": "methods of HTTP and paths",
    "allowed_networks_invalid": "networks in CIDR form",
    "spend_cap_invalid": "a currency of ISO 4217",
    "picture_invalid": "the bytes of a picture",
}
# Our own formats, by values of each.
schemathesis.openapi.format("time-zone", st.sampled_from(["Europe/Zurich", "Asia/Kolkata", "UTC"]))


@dataclass
class Outcome:
    """What came of the requests."""

    # By status; 0: none came.
    answers: Counter[int] = field(default_factory=Counter)
    # By operation, those that succeeded.
    successes: Counter[str] = field(default_factory=Counter)
    # Refusals by their codes, of those that no schema can tell.
    beyond: Counter[str] = field(default_factory=Counter)
    # By operation, what didn't fit the document and how to send it again, each kind of fault once.
    faults: dict[tuple[str, str], str] = field(default_factory=dict)

    def __str__(self) -> str:
        statuses = ", ".join(f"{count} of {status}" for status, count in sorted(self.answers.items()))
        return (
            f"{self.answers.total()} requests ({statuses}), {len(self.successes)} operations succeeded,"
            f" {self.beyond.total()} refused beyond schemas, {len(self.faults)} faults"
        )


def fuzz(
    document: Mapping[str, Any],
    url: str,
    token: Callable[[], str],
    *,
    phases: Sequence[str],
    modes: Sequence[GenerationMode],
    examples: int,
    seed: int,
) -> Outcome:
    """Send requests to every operation of the document. `token` gives one to call with, "" for none, and is
    asked again where that isn't good any more."""
    schema = schemathesis.openapi.from_dict(
        _strict(document), config=_config(url, phases, modes, examples, seed)
    )

    @schema.auth(refresh_interval=_TOKEN_S, retry_on=[401])
    class _Caller:
        def get(self, case: Any, context: Any) -> str | None:
            return token() or None

        def set(self, case: Any, data: str, context: Any) -> None:
            case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}

    @schema.hook
    def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
        is_beyond = isinstance(failure, RejectedPositiveData) and _code(response) in _BEYOND_SCHEMAS
        if is_beyond:
            outcome.beyond[_code(response)] += 1
        return not is_beyond

    outcome = Outcome()
    for event in engine.from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _record(outcome, event)
        elif isinstance(event, events.NonFatalError):
            outcome.faults[event.label, str(event.info.title)] = str(event.value)[:1000]
        elif isinstance(event, events.FatalError):
            raise event.exception
    return outcome


def _config(
    url: str, phases: Sequence[str], modes: Sequence[GenerationMode], examples: int, seed: int
) -> SchemathesisConfig:
    chosen = PhasesConfig()
    chosen.update(phases=list(phases))
    project = ProjectConfig(
        base_url=url,
        checks=ChecksConfig(),
        phases=chosen,
        generation=GenerationConfig(
            modes=list(modes), max_examples=examples, no_shrink=True, database="none"
        ),
        continue_on_failure=True,
        request_timeout=60,
    )
    return SchemathesisConfig(
        seed=seed, suppress_health_check=[HealthCheck.all], projects=ProjectsConfig(default=project)
    )


def _code(response: Any) -> str:
    return str(response.json().get("code", ""))


def _strict(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without the consume endpoint, which is the gateway's, and without what it says of statuses
    that it doesn't name: with that, none would be undocumented."""
    strict = copy.deepcopy(dict(document))
    strict["paths"] = {
        path: item for path, item in strict["paths"].items() if not path.startswith("/api/consume")
    }
    for item in strict["paths"].values():
        for operation in item.values():
            operation["responses"].pop("default", None)
    return strict


def _record(outcome: Outcome, scenario: events.ScenarioFinished) -> None:
    recorder = scenario.recorder
    for case_id, interaction in recorder.interactions.items():
        status = interaction.response.status_code if interaction.response is not None else 0
        outcome.answers[status] += 1
        if 200 <= status < 300:
            outcome.successes[recorder.cases[case_id].value.operation.label] += 1
    for case_id, checks in recorder.checks.items():
        label = recorder.cases[case_id].value.operation.label
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                told = f"{failure.title}: {failure.message[:1500]}\n{check.failure_info.code_sample[:1500]}"
                answered = recorder.interactions.get(case_id)
                if answered is not None and answered.response is not None:
                    told += f"\n{answered.response.status_code} {answered.response.content[:500]!r}"
                outcome.faults.setdefault((label, check.name), told)
