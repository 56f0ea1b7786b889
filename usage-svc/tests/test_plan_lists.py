"""Lists are answered from indexes, however many reports and alerts there are."""

from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.testing.plans import Question, check_list_plans
from usage_svc.alerting.store import AlertStore
from usage_svc.reporting.store import ReportStore
from usage_svc.store import Store

SOMEBODY, SOMETHING = uuid7(), uuid7()


async def test_no_list_reads_a_whole_table(database: Database[Store]) -> None:
    questions: list[Question] = [
        (ReportStore, "list_reports", {"reader_id": SOMEBODY, "roles": [2], "is_consumer": False}),
        (ReportStore, "list_reports", {"reader_id": SOMEBODY, "roles": [3], "is_consumer": True}),
        (AlertStore, "list_alerts", {"owner_id": SOMEBODY, "role": 3}),
        (AlertStore, "list_alerts_of_project", {"project_id": SOMETHING}),
    ]
    async with database.connection() as connection:
        await check_list_plans(connection, {ReportStore, AlertStore}, questions)
