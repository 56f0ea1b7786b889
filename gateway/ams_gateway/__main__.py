"""`ams-gateway`: settings from the environment, then workers under a supervisor.

`ams-gateway resend --since TIME [--journal ID]`: what Kafka has lost is sent again.
"""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ams_common.process import settings_or_exit
from ams_common.settings import load
from ams_common.topics import USAGE_EVENTS

from ams_gateway.settings import Settings
from ams_gateway.supervisor import Supervisor


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="ams-gateway", description="The gateway, in its environment's settings."
    )
    commands = parser.add_subparsers(dest="command")
    resending = commands.add_parser("resend", help="send events again that Kafka has lost")
    resending.add_argument(
        "--since", type=_time, required=True, help="of calls since then: 2026-11-29T10:00, UTC unless it says"
    )
    resending.add_argument("--journal", help="of one journal: its id, as reconciliation shows it")
    options = parser.parse_args()
    # Each worker answers operators itself: it knows whether it is ready.
    settings = settings_or_exit("gateway", partial(load, Settings, "GATEWAY"), serves_metrics=False)
    if options.command == "resend":
        _resend(settings, options.since, options.journal)
    else:
        Supervisor(settings).run()


def _resend(settings: Settings, since: datetime, journal: str | None) -> None:
    # Kafka's client takes tens of megabytes, which a supervisor has no use for.
    from ams_gateway.metering.resending import resend

    resent = asyncio.run(
        resend(
            Path(settings.journal_dir),
            since,
            journal.replace("-", "").lower() if journal else None,
            bootstrap_servers=settings.kafka_bootstrap_servers,
            topic=settings.kafka_topic_prefix + USAGE_EVENTS,
        )
    )
    sys.stdout.write(f"{resent.events:,} events of {resent.journals:,} journals sent\n")


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


if __name__ == "__main__":
    main()
