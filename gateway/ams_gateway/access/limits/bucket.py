"""The limits of one key's calls to one service."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from ams_gateway.access.limits.allowance import Allowance, policy_line
from ams_gateway.access.limits.holding import Denial, Holding
from ams_gateway.access.limits.policy import LimitPolicy, spend_counter

if TYPE_CHECKING:
    from ams_gateway.access.limits.limiter import Limiter


class LimitBucket:
    """`requests`: where the calls are counted; `spends`: where their price is, and in nanos what of it is
    known before a call."""

    __slots__ = ("_key_spend", "_limiter", "_policy_line", "_requests", "_spends", "_waiters")

    def __init__(
        self,
        limiter: Limiter,
        policy: LimitPolicy,
        requests: Holding | None,
        spends: tuple[tuple[Holding, int], ...],
    ) -> None:
        self._limiter = limiter
        self._requests = requests
        self._spends = spends
        self._policy_line = b"" if requests is None else policy_line(requests.limits)
        key_counter = spend_counter("key", policy.key_id, policy.currency)
        self._key_spend = next((holding for holding, _ in spends if holding.counter == key_counter), None)
        if self._key_spend is not None and policy.shows_costs:
            self._key_spend.is_shown = True
        # Made when somebody waits: an empty deque takes 600 bytes, and there is a bucket for each key.
        self._waiters: deque[asyncio.Future[Allowance]] | None = None

    def take(self) -> Allowance | None:
        """Whether one call may pass, by what is held. None: that isn't known without asking, see acquire."""
        now_s = self._limiter.clock()
        requests = self._requests
        if self._spends or requests is None or not requests.take(1, now_s):
            return self._take_of_all(now_s)
        if requests.should_renew:
            self._limiter.ask(requests)
        return Allowance(requests, self._policy_line, now_s)

    async def acquire(self) -> Allowance:
        """As take, and waits for Redis' answer where it is needed. Never raises for Redis being away, and
        waits for two round trips' time-outs at the longest, one under way and the next; after an outage for
        the moment in which nobody spends, too."""
        allowance = None if self._waiters else self.take()
        if allowance is not None:
            return allowance
        waiter: asyncio.Future[Allowance] = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = deque()
        self._waiters.append(waiter)
        self._wait()
        return await waiter

    def refund(self) -> None:
        """For a call that was allowed and then not forwarded: it counts no more."""
        self._refund(self._charges())

    def waive(self) -> None:
        """For a call that was forwarded but isn't charged (a 5xx of the upstream): caps get it back."""
        self._refund(self._spends)

    def charge(self, nanos: int) -> None:
        """For what is known of a call's price only once it was forwarded. It counts beyond a cap too, which
        then refuses the calls to come."""
        limiter = self._limiter
        now_s = limiter.clock()
        for holding, _ in self._spends:
            if not holding.take(nanos, now_s):
                holding.owe(nanos, now_s, limiter.share(now_s))
                limiter.touch(holding)
            elif holding.should_renew:
                limiter.ask(holding)

    def month_to_date_nanos(self) -> int | None:
        """What calls with the key have cost in this UTC month, in the price's currency: an estimate, over all
        workers. None when it isn't counted."""
        return None if self._key_spend is None else self._key_spend.month_used()

    @property
    def limits_anything(self) -> bool:
        """Whether there is anything that this bucket counts."""
        return self._requests is not None or bool(self._spends)

    @property
    def waiters(self) -> int:
        return sum(not waiter.done() for waiter in self._waiters or ())

    def price_of(self, holding: Holding) -> int:
        return next(price for charged, price in self._charges() if charged is holding)

    def serve(self) -> None:
        """Answer those who wait, in their order, before anybody else can take what has come for them."""
        while self._waiters:
            if self._waiters[0].done():
                self._waiters.popleft()
                continue
            allowance = self._take_of_all(self._limiter.clock())
            if allowance is None:
                self._wait()
                return
            self._waiters.popleft().set_result(allowance)
        self._waiters = None

    def _charges(self) -> tuple[tuple[Holding, int], ...]:
        return self._spends if self._requests is None else ((self._requests, 1), *self._spends)

    def _take_of_all(self, now_s: float) -> Allowance | None:
        """Of each counter, or of none."""
        limiter, charges = self._limiter, self._charges()
        denial: Denial | None = None
        shares = []
        for holding, units in charges:
            if holding.has(units, now_s):
                continue
            if limiter.is_away(now_s, holding):
                share = limiter.share(now_s)
                if share.is_over:
                    return None
                shares.append(holding)
                denial = holding.share_denial(units, now_s, share)
            else:
                denial = holding.denial(units, now_s)
                if denial is None:
                    return None
            if denial is not None:
                retry_after_s = max(1, int(denial.until_s - now_s) + 1)
                return Allowance(self._requests, self._policy_line, now_s, denial.bound, retry_after_s)
        for holding, units in charges:
            if holding in shares:
                holding.take_share(units, now_s, limiter.share(now_s))
                limiter.touch(holding)
            else:
                holding.take(units, now_s)
                if holding.should_renew:
                    limiter.ask(holding)
        return Allowance(self._requests, self._policy_line, now_s)

    def _wait(self) -> None:
        now_s = self._limiter.clock()
        for holding, units in self._charges():
            if holding.holds(now_s) < units * self.waiters:
                self._limiter.wait(self, holding)

    def _refund(self, charges: tuple[tuple[Holding, int], ...]) -> None:
        now_s = self._limiter.clock()
        for holding, units in charges:
            holding.refund(units, now_s)
            self._limiter.touch(holding)
