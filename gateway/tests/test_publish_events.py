"""The publisher goes on, whatever it meets."""

from pathlib import Path

from ams.usage.v1 import events_pb2 as usage
from ams_common.testing.eventually import eventually
from ams_common.topics import USAGE_EVENTS
from ams_gateway.metering import journal as journals
from ams_gateway.metering.journal import Journal, JournalLimits
from ams_gateway.metering.publisher import Publisher


async def test_a_journal_that_cant_be_read_keeps_no_other_from_being_published(
    tmp_path: Path, kafka_bootstrap: str, topic_prefix: str
) -> None:
    foreign = Journal(journals.create(tmp_path), JournalLimits())
    foreign.append(b"\xff is no event")
    foreign.close()
    journal = Journal(journals.create(tmp_path), JournalLimits())
    publisher = Publisher(kafka_bootstrap, journal, tmp_path, topic=topic_prefix + USAGE_EVENTS)
    await publisher.open()

    async def all_published() -> bool:
        return publisher.unacknowledged == 0

    try:
        for _ in range(3):
            journal.append(usage.UsageEvent(consumer_id="somebody").SerializeToString())
            await eventually(all_published)
    finally:
        await publisher.close(timeout_s=1)
        journal.close()
    (left,) = journals.adopt(tmp_path)
    assert left.directory == foreign.files.directory
    left.close()
