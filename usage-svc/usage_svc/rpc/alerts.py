"""The RPCs of AlertService."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from ams.policy.v1.policy_pb2 import ADMIN, CONSUMER, MERCHANT
from ams.usage.v1 import alert_service_pb2 as pb
from ams.usage.v1 import alert_service_pb2_grpc as rpc
from ams_common.clock import Clock, from_timestamp, to_timestamp, utc_now
from ams_common.context import current_caller, current_user_id
from ams_common.database import Database
from ams_common.errors import FieldViolation, InvalidArgumentError, NotFoundError, ResourceExhaustedError
from ams_common.ids import uuid7, uuid_or_none
from ams_common.interceptors import Context
from ams_common.paging import page_request
from ams_common.project_rights import ProjectRight, roles_with
from ams_common.projects import require_right
from ams_common.pseudonyms import Pseudonyms
from ams_common.sealing import Sealer

from usage_svc.alerting.rules import MAX_RULES, AlertRule, check_request
from usage_svc.alerting.store import Alert, AlertStore
from usage_svc.alerting.webhooks import new_secret
from usage_svc.reporting.store import ReportStore
from usage_svc.roles import acting_role
from usage_svc.rpc.reports import find_consumer
from usage_svc.store import Store


@dataclass(kw_only=True, eq=False)
class AlertService(rpc.AlertServiceServicer):
    """A rule is its owner's, in the role they made it in; it sees what that role may see."""

    database: Database[Store]
    pseudonyms: Pseudonyms
    sealer: Sealer
    allow_private_webhooks: bool
    clock: Clock = utc_now

    async def CreateAlertRule(
        self, request: pb.CreateAlertRuleRequest, context: Context
    ) -> pb.CreateAlertRuleResponse:
        owner_id = current_user_id()
        role = acting_role(current_caller(), request.role)
        check_request(request, role, allow_private_webhooks=self.allow_private_webhooks)
        secret = new_secret() if request.webhook_url else ""
        async with self.database.change() as change:
            if known := await change.replay(request, pb.CreateAlertRuleResponse):
                return known
            store = AlertStore(change.connection)
            await store.lock_rules_of_owner(owner_id=owner_id)
            if await store.count_rules(owner_id=owner_id) >= MAX_RULES:
                raise ResourceExhaustedError("too_many_alert_rules", f"You have {MAX_RULES} rules already.")
            named = await find_consumer(
                ReportStore(change.connection), self.pseudonyms, role, owner_id, request.consumer
            )
            api_key_id = uuid_or_none(request.api_key_id)
            if request.key:
                api_key_id = await self._find_key(store, owner_id, request.key)
            is_of_project = role == CONSUMER and bool(request.project_id)
            if is_of_project:
                await require_right(
                    change.connection, UUID(request.project_id), owner_id, ProjectRight.SET_ALERTS
                )
            rule = AlertRule(
                alert_rule_id=uuid7(),
                owner_id=owner_id,
                role=role,
                name=request.name,
                metric=request.metric,
                period=request.period,
                thresholds=list(request.thresholds),
                currency_code=request.currency_code,
                service_id=uuid_or_none(request.service_id),
                api_key_id=api_key_id,
                project_id=uuid_or_none(request.project_id),
                consumer=request.consumer,
                key=request.key,
                consumer_id=owner_id if role == CONSUMER and not is_of_project else named,
                merchant_id=owner_id if role == MERCHANT else uuid_or_none(request.merchant_id),
                min_requests=request.min_requests,
                sends_mail=request.sends_mail,
                webhook_url=request.webhook_url,
                created_at=self.clock(),
            )
            sealed = self.sealer.seal(secret.encode()) if secret else None
            await store.add_rule(**_columns(rule), webhook_secret=sealed)
            change.audit("alert_rule", rule.alert_rule_id, name=rule.name)
            answer = pb.CreateAlertRuleResponse(alert_rule=rule_message(rule))
            await change.remember(request, answer)
        answer.webhook_secret = secret
        return answer

    async def _find_key(self, store: AlertStore, merchant_id: UUID, key: str) -> UUID:
        """The key of that form among those that have called the merchant's services. Raises NotFoundError."""
        key_ids = await store.keys_of_merchant(merchant_id=merchant_id)
        found = await asyncio.to_thread(self.pseudonyms.find_keys, [key], merchant_id, key_ids)
        if not found:
            raise NotFoundError("key_not_found", "No key that has called your services is called that.")
        return found[0]

    async def ListAlertRules(
        self, request: pb.ListAlertRulesRequest, context: Context
    ) -> pb.ListAlertRulesResponse:
        owner_id, role = current_user_id(), acting_role(current_caller(), request.role)
        async with self.database.read() as opened:
            store = AlertStore(opened.connection)
            if request.project_id:
                project_id = await _project_of(opened, request.project_id)
                rules = await store.rules_of_project(project_id=project_id)
            else:
                rules = await store.rules_of_owner(owner_id=owner_id, role=role)
        return pb.ListAlertRulesResponse(alert_rules=map(rule_message, rules))

    async def DeleteAlertRule(
        self, request: pb.DeleteAlertRuleRequest, context: Context
    ) -> pb.DeleteAlertRuleResponse:
        async with self.database.change() as change:
            deleted = await AlertStore(change.connection).delete_rule(
                alert_rule_id=UUID(request.alert_rule_id),
                owner_id=current_user_id(),
                roles=list(current_caller().roles),
                project_roles=roles_with(ProjectRight.CHANGE_PROJECT),
            )
            if not deleted:
                raise NotFoundError("alert_rule_not_found", "There is no such rule.")
            change.audit("alert_rule", request.alert_rule_id)
        return pb.DeleteAlertRuleResponse()

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Context) -> pb.ListAlertsResponse:
        owner_id, role = current_user_id(), acting_role(current_caller(), request.role)
        async with self.database.read() as opened:
            store = AlertStore(opened.connection)
            if request.project_id:
                project_id = await _project_of(opened, request.project_id)
                page = await store.list_alerts_of_project(page_request(request), project_id=project_id)
            else:
                page = await store.list_alerts(page_request(request), owner_id=owner_id, role=role)
            unread = await store.count_unread(owner_id=owner_id, role=role)
        return pb.ListAlertsResponse(
            alerts=map(alert_message, page.rows), next_page_token=page.next_token, unread=unread
        )

    async def MarkAlertsRead(
        self, request: pb.MarkAlertsReadRequest, context: Context
    ) -> pb.MarkAlertsReadResponse:
        try:
            until = from_timestamp(request.until)
        except (ValueError, OverflowError):
            violation = FieldViolation("until", "must lie within the years 1 to 9999")
            raise InvalidArgumentError("invalid_argument", "until is no moment.", [violation]) from None
        owner_id, role = current_user_id(), acting_role(current_caller(), request.role)
        async with self.database.change() as change:
            marked = await AlertStore(change.connection).mark_read(
                owner_id=owner_id, role=role, until=until, now=self.clock()
            )
            if marked:
                change.audit("alerts", owner_id, marked=str(marked))
            else:
                change.nothing_to_audit()
        return pb.MarkAlertsReadResponse()


async def _project_of(store: Store, project_id: str) -> UUID:
    """The project that the calling consumer may see. Raises NotFoundError."""
    owner_id = current_user_id()
    await require_right(store.connection, UUID(project_id), owner_id, ProjectRight.SEE_USAGE)
    return UUID(project_id)


def rule_message(rule: AlertRule) -> pb.AlertRule:
    is_own = rule.owner_id == current_user_id()
    return pb.AlertRule(
        alert_rule_id=str(rule.alert_rule_id),
        name=rule.name,
        metric=rule.metric,
        period=rule.period,
        thresholds=rule.thresholds,
        currency_code=rule.currency_code,
        service_id=str(rule.service_id or ""),
        # A merchant's rule says it in the merchant's own form.
        api_key_id="" if rule.role == MERCHANT else str(rule.api_key_id or ""),
        project_id=str(rule.project_id or ""),
        consumer=rule.consumer,
        min_requests=rule.min_requests,
        sends_mail=rule.sends_mail,
        # Somebody's address may hold a secret of theirs.
        webhook_url=rule.webhook_url if is_own else "",
        created_at=to_timestamp(rule.created_at),
        role=rule.role,
        is_own=is_own,
        key=rule.key,
        merchant_id=str(rule.merchant_id or "") if rule.role == ADMIN else "",
    )


def alert_message(alert: Alert) -> pb.Alert:
    return pb.Alert(
        alert_id=str(alert.alert_id),
        alert_rule_id=str(alert.alert_rule_id),
        rule_name=alert.rule_name,
        metric=alert.metric,
        period=alert.period,
        period_start=to_timestamp(alert.period_start),
        threshold=alert.threshold,
        value=alert.value,
        currency_code=alert.currency_code,
        fired_at=to_timestamp(alert.fired_at),
        webhook_status=alert.webhook_status,
        is_read=alert.is_read,
    )


def _columns(rule: AlertRule) -> dict[str, object]:
    return {field: getattr(rule, field) for field in AlertRule.__dataclass_fields__}
