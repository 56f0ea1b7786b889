"""What keys-svc does with what it is told: a consumer's standing reaches the snapshots of all its keys, who
has left a project loses the keys made in it, and consumers with access to a service hear of its new price."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from ams.catalog.v1.events_pb2 import CatalogEvent
from ams.identity.v1.events_pb2 import IdentityEvent
from ams_common.clock import from_timestamp, utc_now
from ams_common.database import Change
from ams_common.projects import Project, ProjectUpdate, projects_of, save_projects
from ams_common.standings import StandingState, is_newer, newest

from keys_svc import grants, standing
from keys_svc.price_changes import PriceVersion, is_worth_telling, price_change, version_of
from keys_svc.publishing import write_key, write_keys_of
from keys_svc.store import Store


async def apply_identity_events(change: Change[Store], events: Sequence[IdentityEvent]) -> None:
    """Applies each consumer's new standing. Raises ValueError for an event that holds no standing or id."""
    # A merchant's standing reaches the services' snapshots, which are the catalog's.
    changed = [event.consumer_changed for event in events if event.HasField("consumer_changed")]
    states = [StandingState.of_consumer(each) for each in changed]
    await apply_projects(change, projects_of(events), [state.user_id for state in states])
    await apply_standings(change, states)


async def apply_standings(change: Change[Store], states: Sequence[StandingState]) -> None:
    """Applies what is newer than what is known, whether Kafka or identity-svc told it.

    Raises ValueError for what is no standing.
    """
    for state in newest(states):
        text = standing.to_table(state.standing)
        known = await change.store.lock_consumer(state.user_id)
        if not is_newer(state.version, known.standing_version):
            continue
        await change.store.set_standing(
            consumer_id=state.user_id, standing=text, standing_version=state.version
        )
        if state.standing != known.standing:
            await write_keys_of(change, replace(known, standing=state.standing), utc_now())


async def apply_projects(
    change: Change[Store], projects: Sequence[Project], further_consumers: Iterable[UUID] = ()
) -> None:
    """Applies what is newer than what is known: whoever has left loses what they made, what a closed project
    had ends, and one that was handed over is paid for by its new owner from now on. `further_consumers`: to
    whom something is done afterwards."""
    updates = await save_projects(change.connection, projects)
    concerned = {owner for update in updates for owner in _owners(update)} | set(further_consumers)
    # After the projects, and all in one order, before anything of theirs is touched: those who follow
    # standings lock several, too.
    consumers = {each: await change.store.lock_consumer(each) for each in sorted(concerned)}
    now = utc_now()
    for update in updates:
        project = update.after
        access = change.store.access
        if update.before is not None and update.before.owner_id != project.owner_id:
            whose = {"project_id": project.project_id, "consumer_id": project.owner_id}
            await change.store.hand_over_keys(**whose)
            await access.hand_over_grants(**whose)
            await access.hand_over_requests(**whose)
        members = [] if project.is_closed else list(project.members)
        revoked = await change.store.revoke_project_keys(
            project_id=project.project_id, member_ids=members, revoked_at=now
        )
        if project.is_closed:
            await access.withdraw_project_requests(
                project_id=project.project_id, resolved_at=now, resolved_by=project.owner_id
            )
            await access.end_project_grants(
                project_id=project.project_id, ended_at=now, end_reason=grants.CLOSED
            )
        for key_id in revoked:
            await write_key(change, consumers[project.owner_id], key_id, now)
    for owner in sorted({update.after.owner_id for update in updates}):
        await write_keys_of(change, consumers[owner], now)


def _owners(update: ProjectUpdate) -> set[UUID]:
    return {update.after.owner_id} | ({update.before.owner_id} if update.before is not None else set())


async def apply_catalog_events(change: Change[Store], events: Sequence[CatalogEvent]) -> None:
    """Keeps how services are called and what they cost, and announces prices to come.

    Raises ValueError for what can't be read, and for the price of a service that nothing was heard of.
    """
    for event in events:
        if event.HasField("service_changed"):
            service = event.service_changed
            await change.store.save_service(
                service_id=UUID(service.service_id),
                name=service.name,
                slug=service.slug,
                merchant_id=UUID(service.merchant_id),
                changed_at=from_timestamp(event.occurred_at),
            )
        elif event.HasField("price_version_changed"):
            version = version_of(event.price_version_changed)
            await _announce(change, version, from_timestamp(event.occurred_at))


async def _announce(change: Change[Store], version: PriceVersion, announced_at: datetime) -> None:
    service = await change.store.find_service(service_id=version.service_id)
    if service is None:
        raise ValueError(f"nothing was heard of the service {version.service_id}")
    await change.store.save_price_version(version)
    before = await change.store.find_price_before(service_id=version.service_id, starts_at=version.starts_at)
    # The first price is no change: nobody can have had access before it.
    if before is None or not is_worth_telling(version, utc_now()):
        return
    await change.store.add_announcement(
        price_version_id=version.price_version_id,
        service_id=version.service_id,
        is_canceled=version.canceled_at is not None,
        message=price_change(service, version, before).SerializeToString(),
        announced_at=announced_at,
    )
