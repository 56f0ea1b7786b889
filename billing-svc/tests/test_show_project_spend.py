"""What a project's members see of what it costs."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from ams.billing.v1 import billing_service_pb2 as billing_pb
from ams.billing.v1 import project_spend_service_pb2 as pb
from ams.billing.v1 import project_spend_service_pb2_grpc as rpc
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
from ams_common.client import invoke
from ams_common.database import Database
from ams_common.errors import InvalidArgumentError, NotFoundError
from ams_common.ids import uuid7
from ams_common.money import to_decimal
from ams_common.projects import Project
from ams_common.testing.plugin import Serve
from ams_common.testing.policies import callers_let_in
from ams_common.testing.projects import a_project
from ams_common.testing.tokens import TestIssuer
from ams_rating.prices import Component, Graduated, Meter, Price, Tier, Volume
from billing_svc.event_handlers import apply_projects
from billing_svc.rpc.project_spend import ProjectSpendService
from billing_svc.store import Store
from billing_svc.testing import Billing, Events, Group, SetClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DESCRIPTOR = pb.DESCRIPTOR.services_by_name["ProjectSpendService"]
Ask = Callable[..., Awaitable[pb.GetProjectSpendResponse]]
Tell = Callable[[Project], Awaitable[None]]


@pytest.fixture
async def channel(database: Database[Store], clock: SetClock, serve_rpc: Serve) -> Any:
    service = ProjectSpendService(database=database, clock=clock)
    return await serve_rpc(DESCRIPTOR, partial(rpc.add_ProjectSpendServiceServicer_to_server, service))


@pytest.fixture
def ask(channel: Any, issuer: TestIssuer) -> Ask:
    stub = rpc.ProjectSpendServiceStub(channel)

    async def of(user_id: UUID, project_id: UUID, **fields: Any) -> pb.GetProjectSpendResponse:
        request = pb.GetProjectSpendRequest(project_id=str(project_id), **fields)
        return await invoke(stub.GetProjectSpend, request, token=issuer.user_token(user_id, CONSUMER))

    return of


@pytest.fixture
def tell(database: Database[Store]) -> Tell:
    async def apply(project: Project) -> None:
        async with database.change_by_system("test", audited=False) as change:
            await apply_projects(change, [project])

    return apply


def amounts(spend: pb.ProjectSpend) -> dict[tuple[str, str], Decimal]:
    return {(share.service_id, share.group): to_decimal(share.amount) for share in spend.shares}


async def test_who_may_ask(channel: Any, issuer: TestIssuer) -> None:
    assert await callers_let_in(channel, DESCRIPTOR, issuer) == {"GetProjectSpend": {"consumer"}}


async def test_every_member_sees_what_the_project_costs_and_nothing_private(
    ask: Ask, tell: Tell, events: Events, billing: Billing
) -> None:
    owner, others = uuid7(), {uuid7(): role for role in (PROJECT_MANAGER, PROJECT_MEMBER, PROJECT_VIEWER)}
    project = a_project(owner, others)
    await tell(project)
    shared, private = await events.priced_service("0.10"), await events.priced_service("1")
    key, other_key = uuid7(), uuid7()
    project_id = project.project_id
    await events.usage(
        Group(shared, owner, api_key_id=key, project_id=project_id).total(20),
        Group(shared, owner, api_key_id=other_key, project_id=project_id).total(10),
        Group(shared, owner).total(70),
        Group(private, owner).total(5),
    )
    for user_id in (owner, *others):
        [spend] = (await ask(user_id, project_id)).months
        assert spend.period == "2026-11"
        assert amounts(spend) == {(str(shared.service_id), ""): Decimal("3.00")}
        assert [(each.currency_code, to_decimal(each)) for each in spend.totals] == [("EUR", Decimal(3))]
        [by_key] = (await ask(user_id, project_id, by_key=True)).months
        assert amounts(by_key) == {
            (str(shared.service_id), str(key)): Decimal(2),
            (str(shared.service_id), str(other_key)): Decimal(1),
        }
    for outsider, asked in ((uuid7(), project_id), (owner, uuid7())):
        with pytest.raises(NotFoundError, match="no such project"):
            await ask(outsider, asked)


async def test_months_come_oldest_first_and_each_by_its_payer(
    ask: Ask, tell: Tell, events: Events, billing: Billing
) -> None:
    before, after = uuid7(), uuid7()
    project = a_project(after, {before: PROJECT_MANAGER})
    await tell(project)
    priced = await events.priced_service("1")
    await events.usage(
        Group(priced, before, "2026-10-10", project_id=project.project_id).total(2),
        Group(priced, before, "2026-11-01", project_id=project.project_id).total(3),
        Group(priced, after, "2026-11-10", project_id=project.project_id).total(4),
    )
    months = (await ask(before, project.project_id, months=3)).months
    assert [month.period for month in months] == ["2026-09", "2026-10", "2026-11"]
    assert [[to_decimal(each) for each in month.totals] for month in months] == [[], [2], [7]]
    for months_asked in (-1, 13):
        with pytest.raises(InvalidArgumentError):
            await ask(before, project.project_id, months=months_asked)


# Which of three keys, which of two services, in the project or not, paid by the former owner or not, on which
# day, how many requests.
USES = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 1),
        st.booleans(),
        st.booleans(),
        st.sampled_from(("2026-11-01", "2026-11-09", "2026-11-30")),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=10,
)
TIERS = (Tier(10, Decimal(0)), Tier(30, Decimal("0.07")), Tier(None, Decimal("0.033")))
DAYS = [f"2026-11-{day:02}" for day in range(1, 31)]


def summed(amounts: Iterable[Any], currency: str) -> Decimal:
    """Of google.type.Money."""
    return sum((to_decimal(each) for each in amounts if each.currency_code == currency), Decimal(0))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(USES)
async def test_a_projects_spend_is_the_same_wherever_it_is_shown(
    ask: Ask, tell: Tell, events: Events, billing: Billing, uses: list[tuple[int, int, bool, bool, str, int]]
) -> None:
    """To the cent, whatever tiers do, and though it was handed over within the month: to members by service
    and by key; to who pays by project and by key, of the month and of days; and to alerts."""
    owner, former = uuid7(), uuid7()
    project = a_project(owner, {former: PROJECT_MANAGER})
    await tell(project)
    project_id, keys = str(project.project_id), [UUID(int=number + 1) for number in range(3)]
    services = [
        await events.priced_service(Price("EUR", (Component(Meter.REQUESTS, Graduated(TIERS)),))),
        await events.priced_service(Price("JPY", (Component(Meter.REQUESTS, Volume(TIERS)),))),
    ]
    totals: dict[Group, int] = {}
    for key, service, is_shared, is_former, day, requests in uses:
        group = Group(
            services[service],
            former if is_former else owner,
            day,
            keys[key],
            project.project_id if is_shared else None,
        )
        totals[group] = totals.get(group, 0) + requests
    await events.usage(*[group.total(requests) for group, requests in totals.items()])

    month, by_key = [(await ask(owner, project.project_id, by_key=each)).months[0] for each in (False, True)]
    for shown in (month, by_key):
        requests = sum(count for group, count in totals.items() if group.project_id)
        assert sum(each.requests for each in shown.shares) == requests
    of_payers = [await billing.spend(each, group_by=billing_pb.SPEND_BY_PROJECT) for each in (owner, former)]
    for currency in ("EUR", "JPY"):
        expected = summed(month.totals, currency)
        assert summed(by_key.totals, currency) == expected
        for shown in (month, by_key):
            assert summed((each.amount for each in shown.shares), currency) == expected
        paid = [share.amount for spend in of_payers for share in spend.shares if share.group == project_id]
        assert summed(paid, currency) == expected

    await _check_days(billing, owner, project_id, month, by_key)
    await _check_alerts(billing, project_id, month, by_key)


async def _check_days(
    billing: Billing, owner: UUID, project_id: str, month: pb.ProjectSpend, by_key: pb.ProjectSpend
) -> None:
    """What pages of usage say: with all days told apart or none."""
    query = partial(billing_pb.SpendQuery, last_day="2026-11-30", project_id=project_id)
    queries = [
        query(first_day="2026-11-01"),
        query(first_day="2026-11-01", group_by=billing_pb.SPEND_BY_PROJECT),
        query(first_day="2026-11-01", group_by=billing_pb.SPEND_BY_KEY),
        query(first_day="2026-11-09"),
    ]
    for asked in (queries[:3], queries):
        request = billing_pb.BatchGetConsumerSpendRequest(queries=asked)
        answer = await billing.ask("BatchGetConsumerSpend", request, owner, CONSUMER)
        for spend in answer.spends[:3]:
            assert [each for each in spend.totals if to_decimal(each)] == [
                each for each in month.totals if to_decimal(each)
            ]
        keys: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for share in by_key.shares:
            keys[share.group, share.amount.currency_code] += to_decimal(share.amount)
        assert {
            (each.group, each.amount.currency_code): to_decimal(each.amount)
            for each in answer.spends[2].groups
        } == keys


async def _check_alerts(
    billing: Billing, project_id: str, month: pb.ProjectSpend, by_key: pb.ProjectSpend
) -> None:
    scope = partial(billing_pb.BatchGetSpendRequest.Scope, project_id=project_id)
    scopes = [scope(currency_code="EUR"), scope(currency_code="JPY")]
    expected = [summed(month.totals, each.currency_code) for each in scopes]
    for share in by_key.shares:
        currency = share.amount.currency_code
        scopes.append(scope(currency_code=currency, service_id=share.service_id, api_key_id=share.group))
        expected.append(to_decimal(share.amount))

    async def amounts_of(day: str) -> list[Decimal]:
        request = billing_pb.BatchGetSpendRequest(period="2026-11", day=day, scopes=scopes)
        token = billing.issuer.service_token("usage-svc")
        answer = await invoke(billing.stub.BatchGetSpend, request, token=token)
        return [to_decimal(each) for each in answer.amounts]

    assert await amounts_of("") == expected
    # What days add, each to those before it.
    days = [await amounts_of(day) for day in DAYS]
    assert [sum(own, Decimal(0)) for own in zip(*days, strict=True)] == expected


async def test_only_members_see_what_others_have_paid_for_a_project(
    tell: Tell, events: Events, billing: Billing
) -> None:
    """What pages of usage say of a project: all of it to who is in it, else what one has paid for."""
    owner, viewer, former = uuid7(), uuid7(), uuid7()
    project = a_project(owner, {viewer: PROJECT_VIEWER})
    await tell(project)
    priced = await events.priced_service("1")
    await events.usage(
        Group(priced, former, project_id=project.project_id).total(2),
        Group(priced, owner, project_id=project.project_id).total(3),
        Group(priced, owner).total(50),
        Group(priced, viewer).total(100),
    )
    query = partial(billing_pb.SpendQuery, first_day="2026-11-01", last_day="2026-11-30")
    request = billing_pb.BatchGetConsumerSpendRequest(
        queries=[query(project_id=str(project.project_id)), query(), query(project_id=str(uuid7()))]
    )
    for user_id, expected in (
        (owner, [5, 53, 0]),
        (viewer, [5, 100, 0]),
        (former, [2, 2, 0]),
        (uuid7(), [0] * 3),
    ):
        answer = await billing.ask("BatchGetConsumerSpend", request, user_id, CONSUMER)
        assert [summed(each.totals, "EUR") for each in answer.spends] == expected


async def test_alerts_get_a_projects_spend_whoever_pays(events: Events, billing: Billing) -> None:
    project_id, key, owners = uuid7(), uuid7(), (uuid7(), uuid7())
    priced, other = await events.priced_service("1"), await events.priced_service("1")
    await events.usage(
        Group(priced, owners[0], api_key_id=key, project_id=project_id).total(2),
        Group(priced, owners[1], project_id=project_id).total(3),
        Group(other, owners[1], project_id=project_id).total(4),
        Group(priced, owners[1]).total(50),
    )
    scope = partial(billing_pb.BatchGetSpendRequest.Scope, project_id=str(project_id), currency_code="EUR")
    scopes = [scope(), scope(service_id=str(priced.service_id)), scope(api_key_id=str(key))]
    request = billing_pb.BatchGetSpendRequest(period="2026-11", scopes=scopes)
    token = billing.issuer.service_token("usage-svc")
    answer = await invoke(billing.stub.BatchGetSpend, request, token=token)
    assert [to_decimal(each) for each in answer.amounts] == [9, 5, 2]
    for day, amounts_of_day in (("2026-11-10", [9, 5, 2]), ("2026-11-11", [0, 0, 0])):
        request.day = day
        answer = await invoke(billing.stub.BatchGetSpend, request, token=token)
        assert [to_decimal(each) for each in answer.amounts] == amounts_of_day


async def test_projects_come_by_kafka_too(ask: Ask, events: Events, billing: Billing) -> None:
    project_id, owner = uuid7(), uuid7()
    changed = ProjectChanged(
        project_id=str(project_id),
        name="Maps",
        owner_id=str(owner),
        members=[ProjectMember(user_id=str(owner), role=PROJECT_OWNER)],
        version=1,
    )
    await events.identity(IdentityEvent(project_changed=changed))
    [month] = (await ask(owner, project_id)).months
    assert list(month.totals) == []
