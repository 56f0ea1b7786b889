"""What usage-svc does with projects: it keeps who is in them, and ends what somebody had by a role."""

from collections.abc import Sequence

from ams_common.clock import utc_now
from ams_common.database import Change
from ams_common.project_rights import ProjectRight, may
from ams_common.projects import Project, save_projects

from usage_svc.alerting.store import AlertStore
from usage_svc.reporting.store import ReportStore
from usage_svc.store import Store


async def apply_projects(change: Change[Store], projects: Sequence[Project]) -> None:
    """Keeps what is newer than what is known, whether Kafka or identity-svc told it. The alert rules and
    reports about a project of those who may not make them any more are deleted."""
    for update in await save_projects(change.connection, projects):
        project = update.after
        await AlertStore(change.connection).delete_rules_of_others(
            project_id=project.project_id, keep_owner_ids=_with_right(project, ProjectRight.SET_ALERTS)
        )
        await ReportStore(change.connection).delete_reports_of_others(
            project_id=project.project_id,
            keep_owner_ids=_with_right(project, ProjectRight.SEE_USAGE),
            deleted_at=utc_now(),
        )


def _with_right(project: Project, right: ProjectRight) -> list[object]:
    return [user_id for user_id, member in project.members.items() if may(member.role, right)]
