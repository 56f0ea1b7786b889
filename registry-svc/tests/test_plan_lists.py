"""Lists are answered from indexes, however many images there are."""

from ams_common.database import Database
from ams_common.ids import uuid7
from ams_common.testing.plans import Question, check_list_plans
from registry_svc.storage.store import Store

SOMEBODY, SOMETHING = uuid7(), uuid7()


async def test_no_list_reads_a_whole_table(database: Database[Store]) -> None:
    everything = {"merchant_id": None, "service_ids": None, "status": None}
    questions: list[Question] = [
        (Store, "list_push_tokens", {"merchant_id": SOMEBODY, "service_id": SOMETHING}),
        (Store, "list_images", everything),
        (Store, "list_images", {**everything, "merchant_id": SOMEBODY}),
        (Store, "list_images", {**everything, "service_ids": [SOMETHING]}),
        (Store, "list_images", {**everything, "status": "rejected"}),
        (Store, "list_project_pulls", {"project_id": SOMETHING}),
    ]
    async with database.connection() as connection:
        await check_list_plans(connection, {Store}, questions)
