"""What a key may call: which of the services that it was made for, and which calls to them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ams.keys.v1 import events_pb2, keys_service_pb2
from ams.keys.v1.keys_service_pb2 import LossReason
from ams_common.call_rules import CallRule, rule_problem
from ams_common.errors import FailedPreconditionError, FieldViolation, InvalidArgumentError
from ams_common.networks import read_network


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyService:
    """A service that a key was made for, and what bears on its calls now (view key_service_facts)."""

    service_id: UUID
    has_access: bool = True
    is_revoked: bool = False
    is_blocked: bool = False
    is_for_maker: bool = True
    allowed_calls: tuple[CallRule, ...] = ()
    per_minute: int = 0
    per_day: int = 0
    per_month: int = 0

    @property
    def loss(self) -> LossReason.ValueType | None:
        """Why the key can't call it; None if it can."""
        if self.is_revoked:
            return keys_service_pb2.REVOKED_BY_MERCHANT
        if self.is_blocked:
            return keys_service_pb2.BLOCKED_BY_MERCHANT
        if not self.has_access:
            return keys_service_pb2.ACCESS_ENDED
        return None if self.is_for_maker else keys_service_pb2.NOT_FOR_MEMBER

    def terms(self) -> events_pb2.ServiceTerms | None:
        """What bounds its calls; None if nothing does."""
        terms = events_pb2.ServiceTerms(
            allowed_calls=map(rule_message, self.allowed_calls),
            per_minute=self.per_minute,
            per_day=self.per_day,
            per_month=self.per_month,
        )
        if terms == events_pb2.ServiceTerms():
            return None
        terms.service_id = str(self.service_id)
        return terms


def services_in(row: Mapping[str, Any]) -> Sequence[KeyService]:
    """Those in a row of keys."""
    return [
        KeyService(
            service_id=UUID(each.pop("service_id")),
            allowed_calls=tuple(
                CallRule(frozenset(rule["methods"]), rule["path"]) for rule in each.pop("allowed_calls")
            ),
            **each,
        )
        for each in json.loads(row["services"])
    ]


def rule_message(rule: CallRule) -> events_pb2.CallRule:
    return events_pb2.CallRule(methods=sorted(rule.methods), path=rule.path)


def rules_json(rules: Iterable[events_pb2.CallRule]) -> str:
    """As the column allowed_calls holds them. Raises InvalidArgumentError allowed_calls_invalid."""
    wanted = list(rules)
    violations = [
        FieldViolation(f"allowedCalls[{index}]", problem)
        for index, rule in enumerate(wanted)
        if (problem := rule_problem(rule.methods, rule.path)) is not None
    ]
    if violations:
        raise InvalidArgumentError("allowed_calls_invalid", "Some of the calls can't be allowed.", violations)
    return json.dumps([{"methods": sorted(rule.methods), "path": rule.path} for rule in wanted])


def networks_of(texts: Sequence[str]) -> list[str]:
    """Networks in their shortest form, each once. Raises InvalidArgumentError allowed_networks_invalid."""
    networks: list[str] = []
    violations = []
    for index, text in enumerate(texts):
        try:
            network = read_network(text)
        except ValueError as error:
            violations.append(FieldViolation(f"allowedNetworks[{index}]", str(error)))
            continue
        if str(network) not in networks:
            networks.append(str(network))
    if violations:
        raise InvalidArgumentError("allowed_networks_invalid", "Some networks can't be read.", violations)
    return networks


def require_assigned(services: Sequence[KeyService], service_id: UUID) -> None:
    """Raises FailedPreconditionError service_not_assigned for a service that the key can't call."""
    if all(each.service_id != service_id or each.loss is not None for each in services):
        raise FailedPreconditionError("service_not_assigned", "This key can't call that service.")


def require_not_revoked(services: Sequence[KeyService], wanted: Sequence[UUID]) -> None:
    """What a merchant has taken from a key stays taken: raises FailedPreconditionError that names it."""
    revoked = {each.service_id for each in services if each.is_revoked}
    violations = [
        FieldViolation(f"serviceIds[{index}]", "was taken from this key by its merchant")
        for index, service_id in enumerate(wanted)
        if service_id in revoked
    ]
    if violations:
        raise FailedPreconditionError(
            "service_revoked_by_merchant",
            "A merchant has taken this key’s right to its service. Make another key.",
            violations,
        )
