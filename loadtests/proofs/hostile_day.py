"""`make hostile-day`: a day of hostile consumers and merchants, who must learn nothing of each other.

    python -m loadtests.proofs.hostile_day [--seconds S] [--seed N] [--clients N] [--merchants N]

Consumers, each at an address of its own, put their key, addresses, cookies and fields that are for the
gateway alone wherever a request or a WebSocket's handshake has room for them; merchants answer with cookies,
redirects, second answers, hop-by-hop fields and what speaks for the whole host. Both sides' raw logs are then
searched for what is another party's, over both entries. Exits with 1 when something is found; the seed makes
the same day again.
"""

import argparse
import asyncio
import contextlib
import os
import random
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ams_local.execution import end_on_signals
from ams_local.servers import serving

from loadtests.proofs.hostile_clients import Client
from loadtests.proofs.hostile_merchants import Merchant, open_for_business
from loadtests.proofs.leaks import by_kind, find_leaks
from loadtests.support.gateway import Servers, gateway
from loadtests.support.seeds import Service, new_slug, seed_grants

SHOWN_OF_A_KIND = 3


async def spend_day(
    clients: list[Client], merchants: list[Merchant], ports: list[int], seconds: float, least_calls: int
) -> None:
    """Each client goes from merchant to merchant, by either entry, one call at a time."""
    end_s = time.monotonic() + seconds

    async def be_hostile(client: Client) -> None:
        while time.monotonic() < end_s or len(client.calls) < least_calls:
            await client.call(client.chosen.choice(ports), client.chosen.choice(merchants))

    await asyncio.gather(*(be_hostile(client) for client in clients))


async def run_day(
    servers: Servers,
    home: Path,
    *,
    seconds: float,
    seed_number: int,
    clients: int,
    merchants: int,
    least_calls: int = 0,
) -> tuple[list[Client], list[Merchant]]:
    """`least_calls`: of each client, however long they take."""
    chosen = random.Random(seed_number)
    async with contextlib.AsyncExitStack() as stack:
        market = [
            await stack.enter_async_context(
                open_for_business(
                    Merchant(
                        f"m{number}-{chosen.getrandbits(32):08x}",
                        number % 2 == 0,
                        random.Random(seed_number + number),
                    )
                )
            )
            for number in range(merchants)
        ]
        services = {
            each.name: Service(
                new_slug("hostile"),
                each.base_url,
                passes_cookies=each.passes_cookies,
                allows_websockets=True,
                credential=each.credential,
            )
            for each in market
        }
        grants = seed_grants(servers.redis_url, list(services.values()), [list(services.values())] * clients)
        slugs = {name: service.slug for name, service in services.items()}
        crowd = [
            Client(
                f"c{number}-{chosen.getrandbits(32):08x}",
                f"127.{50 + number}.{chosen.randrange(100, 255)}.{chosen.randrange(100, 255)}",
                grant,
                random.Random(seed_number * 1000 + number),
                slugs,
            )
            for number, grant in enumerate(grants)
        ]
        ports = [
            stack.enter_context(gateway(servers, home / f"journal-{entry}", consume_protocol=entry)).port
            for entry in (True, False)
        ]
        await spend_day(crowd, market, ports, seconds, least_calls)
    return crowd, market


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--merchants", type=int, default=4)
    options = parser.parse_args()
    end_on_signals()
    print(f"seed {options.seed}", flush=True)
    environment = {"DATABASE_URL": "unused", **os.environ}
    with (
        tempfile.TemporaryDirectory(prefix="ams-hostile-") as home,
        serving(throwaway=True, environment=environment) as started,
    ):
        servers = Servers(started.redis_url, started.kafka_bootstrap_servers)
        clients, merchants = asyncio.run(
            run_day(
                servers,
                Path(home),
                seconds=options.seconds,
                seed_number=options.seed,
                clients=options.clients,
                merchants=options.merchants,
            )
        )
    calls = [call for client in clients for call in client.calls]
    statuses = Counter(call.answer.status if call.answer else "none" for call in calls)
    received = sum(len(merchant.requests) for merchant in merchants)
    print(f"{len(calls):,} calls, answers {dict(statuses)}; merchants had {received:,}")
    found = by_kind(find_leaks(clients, merchants))
    for kind, leaks in sorted(found.items()):
        print(f"  {kind}: {len(leaks)}")
        for leak in leaks[:SHOWN_OF_A_KIND]:
            print(f"      {leak.where}")
    print("nothing of one party at another" if not found else "LEAKS")
    sys.exit(1 if found or not calls else 0)


if __name__ == "__main__":
    main()
