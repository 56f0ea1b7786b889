"""How often anybody has tried to sign in: counted in memory, and added to the hour's rows now and then.

Tries of strangers leave no audit records: whoever tries a million times would write a million of them.
"""

from collections import Counter
from datetime import datetime
from enum import StrEnum

from ams_common import metrics
from ams_common.clock import Clock
from ams_common.database import Database
from ams_common.loops import run_forever

from identity_svc.sign_in_store import SignInStore
from identity_svc.store import Store

_EVERY_S = 5.0


class Outcome(StrEnum):
    """What became of a try."""

    CODE_MAILED = "code_mailed"
    CODE_ASKED_AGAIN = "code_asked_again"
    CODE_WRONG = "code_wrong"
    SIGNED_IN = "signed_in"
    ASK_REFUSED = "ask_refused"
    GUESS_REFUSED = "guess_refused"


class TryCounts:
    """Those of this process that aren't written down yet; a kill loses the last seconds'."""

    def __init__(self, database: Database[Store], clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._counts: Counter[tuple[datetime, str]] = Counter()

    def count(self, outcome: Outcome) -> None:
        hour = self._clock().replace(minute=0, second=0, microsecond=0)
        self._counts[hour, outcome.value] += 1
        metrics.counter("ams_sign_in_tries", "Tries to sign in, by outcome.", "outcome").labels(outcome).inc()

    async def run(self) -> None:
        """For ever."""
        await run_forever("counting of sign-in tries", self.flush, _EVERY_S)

    async def flush(self) -> None:
        """Adds what was counted to the rows of its hours."""
        counted, self._counts = self._counts, Counter()
        if not counted:
            return
        try:
            async with self._database.change_by_system("sign_in.count", audited=False) as change:
                await SignInStore(change.connection).count_tries(
                    hours=[hour for hour, _ in counted],
                    outcomes=[outcome for _, outcome in counted],
                    tries=list(counted.values()),
                )
        except BaseException:
            self._counts.update(counted)
            raise
