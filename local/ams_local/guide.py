"""The guide: waits until everything answers, fills the marketplace, and tells a person where to look."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from shlex import quote

import aiohttp
from ams_common import ports
from ams_common.clock import utc_now
from ams_common.healthcheck import answers, is_serving
from ams_common.processes import GRPC_SERVERS
from ams_common.testing.eventually import eventually

from ams_local import demo, distribution, history, tools
from ams_local.daemons import StartError
from ams_local.keyring import Keyring
from ams_local.rest import Mailbox, People, Rest
from ams_local.seeding import Seeding, consume, send_traffic
from ams_local.system import ADMIN_EMAIL, System
from ams_local.telling import tell_people

READY_TIMEOUT_S = 90
SAY_EVERY_S = 5
PAST_TIMEOUT_S = 60


def write_down(system: System) -> None:
    """Where everything is, for the guide and for whoever wants to call it."""
    (system.run_directory / "ports.json").write_text(json.dumps(system.ports, indent=2))


def read_system(run_directory: Path) -> System:
    return System(json.loads((run_directory / "ports.json").read_text()), run_directory)


def guide(run_directory: Path) -> None:
    """Returns at SIGTERM. Raises StartError when something never gets ready."""
    system = read_system(run_directory)
    keyring = Keyring(run_directory / "secrets.json")
    wait_until_ready(system)
    asyncio.run(fill(system, keyring, os.environ["KAFKA_BOOTSTRAP_SERVERS"]))
    print(summary(system, keyring), flush=True)
    signal.pause()


async def fill(system: System, keyring: Keyring, kafka_bootstrap: str) -> None:
    """The demo marketplace is there with a past, and a consumer's key works."""
    say("filling the marketplace")
    gateway_url = system.url("ams-gateway")
    async with aiohttp.ClientSession() as http:
        people = People(Rest(http, system.url("ams-bff")), Mailbox(http, system.url("mail")))
        is_new = await Seeding(people, system.url("upstream"), keyring, say).run(ADMIN_EMAIL)
        if is_new:
            say(f"sending {demo.FIRST_CALLS} calls through the gateway")
        await await_good_call(http, gateway_url, keyring)
        if is_new:
            await send_traffic(http, gateway_url, keyring, demo.FIRST_CALLS - 1)
            say("adding the usage of last month and of this one, and last month's invoices")
            admin = await people.sign_in(ADMIN_EMAIL)
            await add_past(admin, kafka_bootstrap, utc_now())
            say("telling people what has happened; some of it is read")
            await tell_people(people, ADMIN_EMAIL, utc_now())


async def add_past(admin: Rest, kafka_bootstrap: str, now: datetime) -> None:
    """Usage since last month began; that month is invoiced once all of it has come through."""
    calls = history.one_of_each(await history.metered(kafka_bootstrap, "", demo.FIRST_CALLS))
    sent = await history.repeat(kafka_bootstrap, "", calls, history.days_since_last_month_began(now))
    last_day = now.replace(day=1) - timedelta(days=1)
    month = {"firstDay": f"{last_day:%Y-%m-01}", "lastDay": f"{last_day:%Y-%m-%d}"}
    of_month = sum(month["firstDay"] <= history.day_of(event) <= month["lastDay"] for event in sent)

    async def is_rated() -> bool:
        days = (await admin.get("/reconciliation", **month, role="ADMIN")).get("days", [])
        rated = sum(int(day["rated"]) for day in days)
        return rated == of_month and all(day["isReconciled"] for day in days)

    try:
        await eventually(is_rated, timeout_s=PAST_TIMEOUT_S)
    except TimeoutError:
        raise StartError(f"The usage of {last_day:%Y-%m} doesn't reach its invoices.") from None
    run = await admin.post("/invoices:issue", lastDay=month["lastDay"], role="ADMIN")

    async def is_done() -> bool:
        return str((await admin.get(f"/invoice-runs/{run['invoiceRunId']}"))["status"]) == "RUN_DONE"

    try:
        await eventually(is_done, timeout_s=PAST_TIMEOUT_S)
    except TimeoutError:
        raise StartError(f"The invoices of {last_day:%Y-%m} aren't made.") from None


def say(line: str) -> None:
    print(f"==> {line}", flush=True)


def wait_until_ready(system: System) -> None:
    """Says every few seconds who is still awaited. Raises StartError when that takes too long."""
    waiting = readiness_checks(system)
    started = said = time.monotonic()
    say(f"waiting for {', '.join(waiting)}")
    while waiting := {name: check for name, check in waiting.items() if not check()}:
        now = time.monotonic()
        if now - started > READY_TIMEOUT_S:
            raise StartError(f"Not ready after {READY_TIMEOUT_S} s: {', '.join(waiting)}")
        if now - said > SAY_EVERY_S:
            say(f"still waiting for {', '.join(waiting)}")
            said = now
        time.sleep(0.1)


def readiness_checks(system: System) -> Mapping[str, Callable[[], bool]]:
    servers = {
        server.name: partial(_is_serving, system.grpc_address(server)) for server in GRPC_SERVERS.values()
    }
    pages = {
        "ams-gateway": system.readiness_url("ams-gateway"),
        "ams-bff": system.readiness_url("ams-bff"),
        "mail": system.url("mail"),
        "upstream": f"{system.url('upstream')}/currency/rates",
    }
    return servers | {name: partial(answers, url) for name, url in pages.items()}


def _is_serving(address: str) -> bool:
    # A channel is dear while there is nobody to connect to.
    return ports.is_listening(int(address.rpartition(":")[2])) and is_serving(address)


async def await_good_call(http: aiohttp.ClientSession, gateway_url: str, keyring: Keyring) -> None:
    """The call of the summary's `curl` line has gone through. A new key reaches the gateway in a moment."""
    consumer = demo.CONSUMERS[0]
    key = keyring.find(f"demo key {consumer.email}") or ""
    last = ""

    async def is_answered() -> bool:
        nonlocal last
        status, text = await consume(http, gateway_url, key, demo.offer(consumer.uses[0]))
        last = f"{status}: {text[:300]}"
        return status == 200

    try:
        await eventually(is_answered, timeout_s=20)
    except TimeoutError:
        raise StartError(f"A call through the gateway answers {last}") from None


def summary(system: System, keyring: Keyring) -> str:
    consumer = demo.CONSUMERS[0]
    key = keyring.find(f"demo key {consumer.email}") or ""
    offer = demo.offer(consumer.uses[0])
    url = f"{system.url('ams-gateway')}/api/consume/{offer.slug}{offer.example}"
    merchants = ", ".join(merchant.email for merchant in demo.MERCHANTS)
    images = f"{system.url('registry-svc').removeprefix('http://')}          docker login, push and pull"
    if not distribution.is_installed():
        images = str(tools.ToolMissingError([distribution.PROGRAM]))
    consumers = ", ".join(consumer.email for consumer in demo.CONSUMERS)
    return f"""
AMS is running. Ctrl-C stops it.

  Web UI        {system.url("ams-bff")}
  REST API      {system.url("ams-bff")}/api/v1        e.g. /marketplace/services
  OpenAPI       {system.url("ams-bff")}/api/v1/openapi.json
  Gateway       {system.url("ams-gateway")}/api/consume
  Images        {images}
  Mail          {system.url("mail")}               the codes to sign in with
  Logs          {system.run_directory / "logs"}

  Admin         {ADMIN_EMAIL}
  Merchants     {merchants}
  Consumers     {consumers}

  Demo key      {key}
  Try it        curl -H {quote(f"Authorization: Bearer {key}")} {quote(url)}
"""
