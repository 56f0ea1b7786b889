"""What the members of a project see of its usage, and what becomes of it when they leave."""

import csv
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
from ams.identity.v1.events_pb2 import (
    PROJECT_MANAGER,
    PROJECT_MEMBER,
    PROJECT_OWNER,
    PROJECT_VIEWER,
    IdentityEvent,
    ProjectChanged,
    ProjectMember,
)
from ams.policy.v1.policy_pb2 import CONSUMER
from ams.usage.v1 import alert_service_pb2 as alerts
from ams.usage.v1 import alert_service_pb2_grpc as alerts_rpc
from ams.usage.v1 import report_service_pb2 as reports
from ams.usage.v1 import report_service_pb2_grpc as reports_rpc
from ams.usage.v1 import usage_service_pb2 as pb
from ams.usage.v1 import usage_service_pb2_grpc as rpc
from ams_common.clock import utc_now
from ams_common.database import Database
from ams_common.errors import from_rpc_error
from ams_common.ids import uuid7
from ams_common.project_rights import ProjectRight, may
from ams_common.projects import Project
from ams_common.pseudonyms import Pseudonyms
from ams_common.sealing import DEVELOPMENT_SEALING_KEYS, Sealer
from ams_common.testing.projects import a_project
from ams_common.testing.tokens import TestIssuer
from usage_svc.alerting.evaluating import AlertEvaluator
from usage_svc.file_store import FileStore
from usage_svc.identity_events import apply_identity_events
from usage_svc.projects import apply_projects
from usage_svc.reporting.facts import FactSources
from usage_svc.reporting.making import ReportMaker
from usage_svc.rpc.alerts import AlertService
from usage_svc.rpc.reports import ReportService
from usage_svc.store import Store

ROLES = {
    "owner": PROJECT_OWNER,
    "manager": PROJECT_MANAGER,
    "member": PROJECT_MEMBER,
    "viewer": PROJECT_VIEWER,
}
KEEP = timedelta(days=30)
DAY = f"{utc_now():%Y-%m-%d}"


@dataclass
class Team:
    """A project whose key was used three times, and whose owner has a private key, used once."""

    project: Project
    people: dict[str, UUID]
    shared: Any
    private: Any


@dataclass
class Services:
    """usage-svc's stubs, and calls of them as somebody."""

    usage: rpc.UsageServiceStub
    alerts: alerts_rpc.AlertServiceStub
    reports: reports_rpc.ReportServiceStub
    issuer: TestIssuer

    async def as_(self, user_id: UUID, call: Any, request: Any) -> Any:
        metadata = (("authorization", f"Bearer {self.issuer.user_token(user_id, CONSUMER)}"),)
        return await call(request, metadata=metadata, timeout=10)

    async def code_of(self, user_id: UUID, call: Any, request: Any) -> str:
        try:
            await self.as_(user_id, call, request)
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error).code
        return ""


@pytest.fixture
async def services(
    stub: rpc.UsageServiceStub,
    serve_rpc: Callable[..., Awaitable[grpc.aio.Channel]],
    database: Database[Store],
    pseudonyms: Pseudonyms,
    issuer: TestIssuer,
    tmp_path: Path,
) -> Services:
    of_alerts = AlertService(
        database=database,
        pseudonyms=pseudonyms,
        sealer=Sealer(DEVELOPMENT_SEALING_KEYS),
        allow_private_webhooks=False,
    )
    of_reports = ReportService(
        database=database, files=FileStore(str(tmp_path)), pseudonyms=pseudonyms, keep=KEEP
    )
    alerts_channel = await serve_rpc(
        alerts.DESCRIPTOR.services_by_name["AlertService"],
        partial(alerts_rpc.add_AlertServiceServicer_to_server, of_alerts),
    )
    reports_channel = await serve_rpc(
        reports.DESCRIPTOR.services_by_name["ReportService"],
        partial(reports_rpc.add_ReportServiceServicer_to_server, of_reports),
    )
    return Services(
        stub,
        alerts_rpc.AlertServiceStub(alerts_channel),
        reports_rpc.ReportServiceStub(reports_channel),
        issuer,
    )


Tell = Callable[[Project], Awaitable[None]]


@pytest.fixture
def maker(
    database: Database[Store], pseudonyms: Pseudonyms, sources: FactSources, tmp_path: Path
) -> ReportMaker:
    files = FileStore(str(tmp_path))
    return ReportMaker(database=database, files=files, pseudonyms=pseudonyms, sources=sources, keep=KEEP)


@pytest.fixture
def tell(database: Database[Store]) -> Tell:
    async def apply(project: Project) -> None:
        async with database.change_by_system("test", audited=False) as change:
            await apply_projects(change, [project])

    return apply


@pytest.fixture
async def team(new_subject: Any, ingest: Any, tell: Tell) -> Team:
    people = {name: uuid7() for name in ROLES}
    project = a_project(people["owner"], {people[name]: role for name, role in ROLES.items()})
    await tell(project)
    shared = new_subject(consumer_id=people["owner"], project_id=project.project_id)
    private = new_subject(consumer_id=people["owner"], merchant_id=shared.merchant_id)
    await ingest([*(shared.event() for _ in range(3)), private.event()])
    return Team(project, people, shared, private)


def without(project: Project, user_id: UUID) -> Project:
    left = {each: member for each, member in project.members.items() if each != user_id}
    return replace(project, members=left, version=project.version + 1)


@pytest.mark.parametrize("role", ROLES)
async def test_a_member_sees_the_projects_usage_and_nothing_private(
    services: Services, team: Team, role: str
) -> None:
    user_id, project_id = team.people[role], str(team.project.project_id)
    for group_by, group in ((pb.KEY, team.shared.api_key_id), (pb.PROJECT, team.project.project_id)):
        report = await services.as_(
            user_id,
            services.usage.GetConsumerUsage,
            pb.GetUsageRequest(project_id=project_id, group_by=group_by),
        )
        assert {each.group: each.figures.requests for each in report.groups} == {str(group): 3}
    calls = await services.as_(
        user_id, services.usage.ListConsumerCalls, pb.ListCallsRequest(project_id=project_id, day=DAY)
    )
    assert {call.api_key_id for call in calls.calls} == {str(team.shared.api_key_id)}
    private: dict[str, Any] = {"api_key_id": str(team.private.api_key_id)}
    for hidden in (private, {"project_id": project_id, **private}):
        report = await services.as_(user_id, services.usage.GetConsumerUsage, pb.GetUsageRequest(**hidden))
        assert report.total.requests == (1 if role == "owner" and "project_id" not in hidden else 0)


async def test_an_outsiders_question_about_a_project_finds_nothing(services: Services, team: Team) -> None:
    outsider = uuid7()
    request = pb.GetUsageRequest(project_id=str(team.project.project_id))
    report = await services.as_(outsider, services.usage.GetConsumerUsage, request)
    missing = await services.as_(
        outsider, services.usage.GetConsumerUsage, pb.GetUsageRequest(project_id=str(uuid7()))
    )
    assert report.total == missing.total
    assert report.total.requests == 0
    calls = await services.as_(
        outsider,
        services.usage.ListConsumerCalls,
        pb.ListCallsRequest(project_id=str(team.project.project_id), day=DAY),
    )
    assert list(calls.calls) == []


async def test_who_leaves_sees_no_more_than_what_they_paid_for(
    services: Services, team: Team, tell: Tell, new_subject: Any, ingest: Any
) -> None:
    """The owner hands over and leaves; the new owner sees all that the project has used."""
    owner, manager = team.people["owner"], team.people["manager"]
    handed_over = a_project(manager, {}, project_id=team.project.project_id, version=2)
    await tell(handed_over)
    later = new_subject(consumer_id=manager, project_id=team.project.project_id)
    await ingest([later.event()])
    request = pb.GetUsageRequest(project_id=str(team.project.project_id))
    for user_id, requests in ((owner, 3), (manager, 4), (team.people["member"], 0)):
        report = await services.as_(user_id, services.usage.GetConsumerUsage, request)
        assert report.total.requests == requests


async def test_live_figures_stop_showing_a_project_to_who_has_left(
    services: Services, team: Team, tell: Tell
) -> None:
    viewer = team.people["viewer"]
    metadata = (("authorization", f"Bearer {services.issuer.user_token(viewer, CONSUMER)}"),)
    request = pb.GetUsageRequest(project_id=str(team.project.project_id))
    stream: Any = services.usage.WatchConsumerUsage(request, metadata=metadata, timeout=10)
    assert (await stream.read()).total.requests == 3
    await tell(without(team.project, viewer))
    assert (await stream.read()).total.requests == 0
    stream.cancel()


def rule_of(project_id: UUID, **fields: Any) -> alerts.CreateAlertRuleRequest:
    given = {
        "name": "Many calls",
        "metric": alerts.REQUEST_COUNT,
        "period": alerts.ALERT_DAY,
        "thresholds": ["3"],
        **fields,
    }
    return alerts.CreateAlertRuleRequest(project_id=str(project_id), **given)


@pytest.mark.parametrize("role", ROLES)
async def test_alert_rules_are_made_by_role_and_seen_by_all_members(
    services: Services, team: Team, role: str
) -> None:
    user_id, project_id = team.people[role], team.project.project_id
    code = await services.code_of(user_id, services.alerts.CreateAlertRule, rule_of(project_id))
    assert code == ("" if may(ROLES[role], ProjectRight.SET_ALERTS) else "project_right_required")
    for reader in team.people.values():
        listed = await services.as_(
            reader,
            services.alerts.ListAlertRules,
            alerts.ListAlertRulesRequest(project_id=str(project_id)),
        )
        assert len(listed.alert_rules) == (0 if code else 1)
        assert [each.is_own for each in listed.alert_rules] == [reader == user_id] * len(listed.alert_rules)


async def test_an_outsider_makes_and_sees_no_rule_of_a_project(services: Services, team: Team) -> None:
    outsider, project_id = uuid7(), str(team.project.project_id)
    for call, request in (
        (services.alerts.CreateAlertRule, rule_of(team.project.project_id)),
        (services.alerts.ListAlertRules, alerts.ListAlertRulesRequest(project_id=project_id)),
        (services.alerts.ListAlerts, alerts.ListAlertsRequest(project_id=project_id)),
    ):
        assert await services.code_of(outsider, call, request) == "project_not_found"


async def test_a_projects_alert_fires_on_its_usage_alone_and_members_see_it(
    services: Services, team: Team, database: Database[Store]
) -> None:
    member, viewer, project_id = team.people["member"], team.people["viewer"], team.project.project_id
    for thresholds in (["3"], ["4"]):
        await services.as_(
            member, services.alerts.CreateAlertRule, rule_of(project_id, thresholds=thresholds)
        )
    # None is about spend, so billing-svc isn't asked.
    evaluator = AlertEvaluator(database=database, spend=None)  # type: ignore[arg-type]
    await evaluator.evaluate_touched()
    await evaluator.evaluate_all()
    for reader in (member, viewer):
        page = await services.as_(
            reader, services.alerts.ListAlerts, alerts.ListAlertsRequest(project_id=str(project_id))
        )
        assert [(each.threshold, each.value) for each in page.alerts] == [("3", "3")]


@pytest.mark.parametrize(("role", "is_deleted"), [("owner", True), ("manager", True), ("viewer", False)])
async def test_managers_delete_other_members_rules(
    services: Services, team: Team, role: str, is_deleted: bool
) -> None:
    made = await services.as_(
        team.people["member"],
        services.alerts.CreateAlertRule,
        rule_of(team.project.project_id, webhook_url="https://hooks.example/secret"),
    )
    listed = await services.as_(
        team.people[role],
        services.alerts.ListAlertRules,
        alerts.ListAlertRulesRequest(project_id=str(team.project.project_id)),
    )
    assert [each.webhook_url for each in listed.alert_rules] == [""]
    request = alerts.DeleteAlertRuleRequest(alert_rule_id=made.alert_rule.alert_rule_id)
    code = await services.code_of(team.people[role], services.alerts.DeleteAlertRule, request)
    assert code == ("" if is_deleted else "alert_rule_not_found")


async def test_a_private_rule_is_nobody_elses_to_delete(services: Services, team: Team) -> None:
    request = alerts.CreateAlertRuleRequest(
        name="Mine", metric=alerts.REQUEST_COUNT, period=alerts.ALERT_DAY, thresholds=["3"]
    )
    made = await services.as_(team.people["member"], services.alerts.CreateAlertRule, request)
    delete = alerts.DeleteAlertRuleRequest(alert_rule_id=made.alert_rule.alert_rule_id)
    code = await services.code_of(team.people["owner"], services.alerts.DeleteAlertRule, delete)
    assert code == "alert_rule_not_found"


async def test_leaving_ends_rules_and_reports_of_the_project_and_no_others(
    services: Services, team: Team, tell: Tell, maker: ReportMaker
) -> None:
    member, owner, project_id = team.people["member"], team.people["owner"], team.project.project_id
    for user_id in (member, owner):
        await services.as_(user_id, services.alerts.CreateAlertRule, rule_of(project_id))
    own = alerts.CreateAlertRuleRequest(
        name="Mine", metric=alerts.REQUEST_COUNT, period=alerts.ALERT_DAY, thresholds=["3"]
    )
    await services.as_(member, services.alerts.CreateAlertRule, own)
    asked = reports.CreateReportRequest(
        first_day=DAY,
        last_day=DAY,
        format=reports.CSV,
        detail=reports.BY_DAY,
        project_id=str(project_id),
    )
    made = await services.as_(member, services.reports.CreateReport, asked)
    await maker.make_one()
    read = reports.ReadReportRequest(report_id=made.report_id)
    content = (await services.as_(member, services.reports.ReadReport, read)).content
    assert str(team.shared.api_key_id).encode() in content
    assert str(team.private.api_key_id).encode() not in content
    assert team.project.name.encode() in content

    await tell(without(team.project, member))
    assert await services.code_of(member, services.reports.ReadReport, read) == "report_not_found"
    left = await services.as_(member, services.alerts.ListAlertRules, alerts.ListAlertRulesRequest())
    assert [rule.name for rule in left.alert_rules] == ["Mine"]
    kept = await services.as_(
        owner, services.alerts.ListAlertRules, alerts.ListAlertRulesRequest(project_id=str(project_id))
    )
    assert [rule.name for rule in kept.alert_rules] == ["Many calls"]


async def test_a_report_names_a_project_to_its_members_only(
    services: Services, team: Team, tell: Tell, maker: ReportMaker
) -> None:
    owner, manager, project = team.people["owner"], team.people["manager"], team.project

    async def report() -> list[dict[str, str]]:
        asked = reports.CreateReportRequest(
            first_day=DAY, last_day=DAY, format=reports.CSV, detail=reports.BY_DAY
        )
        made = await services.as_(owner, services.reports.CreateReport, asked)
        await maker.make_one()
        read = reports.ReadReportRequest(report_id=made.report_id)
        content = (await services.as_(owner, services.reports.ReadReport, read)).content
        return list(csv.DictReader(io.StringIO(content.decode())))

    def names(rows: list[dict[str, str]]) -> set[tuple[str, str]]:
        return {(row["project_id"], row["project"]) for row in rows}

    assert names(await report()) == {(str(project.project_id), project.name), ("", "")}
    # Handed over and left: what was paid for stays, and what others call it since is theirs.
    await tell(a_project(manager, project_id=project.project_id, version=project.version + 1))
    assert names(await report()) == {(str(project.project_id), ""), ("", "")}


async def test_an_outsider_gets_no_report_of_a_project(services: Services, team: Team) -> None:
    asked = reports.CreateReportRequest(
        first_day=DAY,
        last_day=DAY,
        format=reports.CSV,
        detail=reports.BY_DAY,
        project_id=str(team.project.project_id),
    )
    assert await services.code_of(uuid7(), services.reports.CreateReport, asked) == "project_not_found"


async def test_projects_come_by_kafka_too(services: Services, team: Team, database: Database[Store]) -> None:
    newcomer = uuid7()
    changed = ProjectChanged(
        project_id=str(team.project.project_id),
        name="Maps",
        owner_id=str(team.people["owner"]),
        members=[
            ProjectMember(user_id=str(team.people["owner"]), role=PROJECT_OWNER),
            ProjectMember(user_id=str(newcomer), role=PROJECT_VIEWER),
        ],
        version=2,
    )
    async with database.change_by_system("test", audited=False) as change:
        await apply_identity_events(change, [IdentityEvent(project_changed=changed)])
    request = pb.GetUsageRequest(project_id=str(team.project.project_id))
    for user_id, requests in ((newcomer, 3), (team.people["member"], 0)):
        report = await services.as_(user_id, services.usage.GetConsumerUsage, request)
        assert report.total.requests == requests
