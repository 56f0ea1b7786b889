"""What strangers and known browsers may ask for, have mailed, and guess: nobody closes another's way in.

Whoever asks counts by their network; a browser that has signed in to the account before has an allowance of
its own, which nobody else can use up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg

from identity_svc import allowances
from identity_svc.allowances import Allowance, Spending, longest_wait
from identity_svc.sign_in_store import SignInStore
from identity_svc.vault import Vault


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants to sign in as `email`: a browser that did before, or somebody of a network."""

    email: str
    network: str
    device_id: str | None = None


@dataclass(slots=True)
class Spent:
    """What a call has used up: kept with its challenge, and given back when that is proven. `wait`: of what
    was not there, how long until it is; nothing of that was used up."""

    keys: list[bytes] = field(default_factory=list)
    refills: list[timedelta] = field(default_factory=list)
    wait: timedelta | None = None


class SignInLimits:
    """`asks_per_hour`: of one network; `mails_per_hour`: to all addresses together, without those to known
    browsers."""

    def __init__(self, vault: Vault, asks_per_hour: int, mails_per_hour: int) -> None:
        self._vault = vault
        self._asks_of_network = Allowance.per_hour("asks of network", asks_per_hour)
        self._mails_in_all = Allowance.per_hour("mails in all", mails_per_hour)

    async def ask(self, connection: asyncpg.Connection, asker: Asker, now: datetime) -> Spent:
        """For asking at all."""
        spendings = [
            Spending(self._asks_of_network, (asker.network,)),
            Spending(allowances.ASKS_OF_NETWORK_FOR_ADDRESS, (asker.network, asker.email)),
        ]
        return await self._spend(connection, [spendings], now)

    async def mail_to_device(self, connection: asyncpg.Connection, device_id: str, now: datetime) -> Spent:
        """For a mail that a known browser asks for; it pays for asking too."""
        spending = Spending(allowances.MAILS_OF_DEVICE, (device_id,))
        return await self._spend(connection, [[spending]], now)

    async def mail_to_stranger(self, connection: asyncpg.Connection, asker: Asker, now: datetime) -> Spent:
        """For a mail that somebody asks for whom nothing is known of."""
        pair = Spending(allowances.MAILS_OF_NETWORK_TO_ADDRESS, (asker.network, asker.email))
        in_all = Spending(self._mails_in_all, ())
        first = [[pair], [Spending(allowances.FIRST_MAILS_TO_ADDRESS, (asker.email,)), in_all]]
        further = [[pair], [Spending(allowances.FURTHER_MAILS_TO_ADDRESS, (asker.email,)), in_all]]
        is_first = not await self._is_touched(connection, pair, now)
        return await self._spend(connection, first if is_first else further, now)

    async def guess(self, connection: asyncpg.Connection, asker: Asker, now: datetime) -> Spent:
        """For one guess at a code, before it is looked at."""
        if asker.device_id is not None:
            own = Spending(allowances.GUESSES_OF_DEVICE, (asker.device_id,))
            return await self._spend(connection, [[own]], now)
        pair = Spending(allowances.GUESSES_OF_NETWORK_AT_ACCOUNT, (asker.network, asker.email))
        is_first = not await self._is_touched(connection, pair, now)
        at_account = (
            allowances.FIRST_GUESSES_AT_ACCOUNT if is_first else allowances.FURTHER_GUESSES_AT_ACCOUNT
        )
        others = [
            Spending(allowances.GUESSES_OF_NETWORK, (asker.network,)),
            Spending(at_account, (asker.email,)),
            Spending(allowances.GUESSES_IN_ALL, ()),
        ]
        return await self._spend(connection, [[pair], others], now)

    async def guess_at_nothing(self, connection: asyncpg.Connection, network: str, now: datetime) -> Spent:
        """For a code of a challenge that there isn't."""
        return await self._spend(connection, [[Spending(allowances.GUESSES_OF_NETWORK, (network,))]], now)

    async def prove(self, connection: asyncpg.Connection, user_id: str, now: datetime) -> Spent:
        """For one second factor, before it is looked at."""
        return await self._spend(connection, [[Spending(allowances.PROOFS_AT_ACCOUNT, (user_id,))]], now)

    async def give_back(
        self, connection: asyncpg.Connection, keys: Sequence[bytes], refills: Sequence[timedelta]
    ) -> None:
        """Who has proven the address has used up nothing. For what the same transaction has spent: it holds
        these allowances already."""
        for key, refill in zip(keys, refills, strict=True):
            await SignInStore(connection).give_back_allowance(allowance_key=key, refill=refill)

    async def give_back_one_by_one(
        self, connection: asyncpg.Connection, keys: Sequence[bytes], refills: Sequence[timedelta]
    ) -> None:
        """As give_back, for what an earlier transaction has spent. Each in a transaction of its own: whoever
        spends holds several, in an order of theirs, and two would wait for each other. A crash in between
        leaves some spent, until they fill by themselves."""
        assert not connection.is_in_transaction(), "all of them would be held until it ends"
        await self.give_back(connection, keys, refills)

    async def _is_touched(self, connection: asyncpg.Connection, spending: Spending, now: datetime) -> bool:
        key = self._vault.allowance_key(spending.text)
        return await SignInStore(connection).is_touched(allowance_key=key, now=now)

    async def _spend(
        self, connection: asyncpg.Connection, groups: Sequence[Sequence[Spending]], now: datetime
    ) -> Spent:
        """All of the groups, one after the other, or nothing of them."""
        spent = Spent()
        try:
            async with connection.transaction():  # a savepoint: what is overdrawn takes only this back
                full_at: list[tuple[Allowance, datetime]] = []
                for group in groups:
                    by_key = {self._vault.allowance_key(each.text): each.allowance for each in group}
                    refills = [allowance.refill for allowance in by_key.values()]
                    rows = await SignInStore(connection).spend_allowances(
                        keys=list(by_key), refills=refills, now=now
                    )
                    full_at += [(by_key[row.allowance_key], row.full_at) for row in rows]
                    spent.keys += by_key
                    spent.refills += refills
                if (wait := longest_wait(full_at, now)) is not None:
                    raise _OverdrawnError(wait)
        except _OverdrawnError as overdrawn:
            return Spent(wait=overdrawn.wait)
        return spent


class _OverdrawnError(Exception):
    def __init__(self, wait: timedelta) -> None:
        super().__init__()
        self.wait = wait
