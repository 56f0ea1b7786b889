"""Every process of the running system answers scrapes on its operators' port."""

import aiohttp
import pytest
from ams_common.processes import GRPC_SERVERS, PROCESSES
from ams_common.testing.eventually import eventually
from support.running_system import ADMIN_EMAIL, RunningSystem

# A path for each server that somebody who isn't signed in can ask, and the family that counts it there.
ASKED = {
    "identity-svc": ("/api/v1/me", "ams_rpc_seconds_count"),
    "catalog-svc": ("/api/v1/marketplace/services", "ams_rpc_seconds_count"),
    "keys-svc": ("/api/v1/keys", "ams_rpc_seconds_count"),
    "usage-svc": ("/api/v1/consumer/usage", "ams_rpc_seconds_count"),
    "billing-svc": ("/api/v1/invoices", "ams_rpc_seconds_count"),
    "registry-svc": ("/api/v1/images", "ams_rpc_seconds_count"),
    "ams-bff": ("/healthz", "ams_http_seconds_count"),
    "ams-gateway": ("", "ams_gateway_in_flight"),
}


@pytest.mark.parametrize("name", PROCESSES)
async def test_a_process_serves_metrics(
    system: RunningSystem, http: aiohttp.ClientSession, name: str
) -> None:
    path, family = ASKED[name]
    listen = system.programs[name].environment[PROCESSES[name].variable("METRICS_LISTEN")]
    if path:
        async with http.get(f"{system.rest_url}{path}") as answer:
            assert answer.status in (200, 401, 403), await answer.text()

    async def is_counted() -> bool:
        async with http.get(f"http://{listen}/metrics") as answer:
            assert answer.status == 200
            return f"\n{family}" in await answer.text()

    await eventually(is_counted)


@pytest.mark.parametrize("name", [process.name for process in GRPC_SERVERS.values()])
async def test_every_service_that_reads_kafka_tells_how_many_dead_letters_wait(
    system: RunningSystem, http: aiohttp.ClientSession, name: str
) -> None:
    listen = system.programs[name].environment[PROCESSES[name].variable("METRICS_LISTEN")]

    async def is_told() -> bool:
        async with http.get(f"http://{listen}/metrics") as answer:
            return "\nams_dead_letters_waiting " in await answer.text()

    await eventually(is_told)


async def test_identity_svc_tells_of_the_mail_queue(
    system: RunningSystem, http: aiohttp.ClientSession
) -> None:
    variable = PROCESSES["identity-svc"].variable("METRICS_LISTEN")
    url = f"http://{system.programs['identity-svc'].environment[variable]}/metrics"

    async def are_told() -> bool:
        async with http.get(url) as answer:
            text = await answer.text()
        families = ("ams_mails_waiting ", "ams_mails_oldest_seconds ", 'ams_mails_total{outcome="sent"} ')
        return all(f"\n{family}" in text for family in families)

    # Signing in sends a mail.
    await system.people(http).sign_in(ADMIN_EMAIL)
    await eventually(are_told)
