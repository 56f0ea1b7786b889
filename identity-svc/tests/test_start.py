import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import pytest
from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import identity_service_pb2_grpc as rpc
from ams_common.ports import free_port
from ams_common.testing.eventually import eventually
from cryptography.fernet import Fernet

ADMIN_EMAIL = "ada@example.com"


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("IDENTITY_", "AMS_"))}


async def start(environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "identity_svc", env=environment, stderr=asyncio.subprocess.PIPE
    )


@pytest.fixture
def environment(database_url: str, kafka_bootstrap: str, topic_prefix: str, smtp: Any) -> dict[str, str]:
    return clean_environment() | {
        "IDENTITY_DATABASE_URL": database_url,
        "IDENTITY_LISTEN": f"127.0.0.1:{free_port()}",
        "IDENTITY_ADMIN_EMAILS": ADMIN_EMAIL,
        "IDENTITY_SMTP_PORT": str(smtp.port),
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
    }


@pytest.fixture
async def process(environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    started = await start(environment)
    drain = asyncio.create_task(started.communicate())  # a full pipe would stop it
    yield started
    if started.returncode is None:
        started.kill()
    await drain


async def test_the_first_admin_signs_in_by_mail_and_is_read_of_in_the_audit_log(
    environment: dict[str, str], process: asyncio.subprocess.Process, smtp: Any
) -> None:
    async with grpc.aio.insecure_channel(environment["IDENTITY_LISTEN"]) as channel:
        stub = rpc.IdentityServiceStub(channel)
        request = pb.StartSignInRequest(email=ADMIN_EMAIL)
        challenge = await stub.StartSignIn(request, wait_for_ready=True, timeout=30)

        async def mailed_code() -> str:
            texts = [mail.get_body(("plain",)).get_content() for _, _, mail in smtp.taken]
            found = re.search(r"^[0-9]{6}$", "\n".join(texts).replace("\r", ""), re.MULTILINE)
            return found[0] if found else ""

        code = await eventually(mailed_code)
        verification = pb.VerifyChallengeRequest(challenge_id=challenge.challenge_id, code=code)
        session = await stub.VerifyChallenge(verification)
        bearer = (("authorization", f"Bearer {session.access_token}"),)
        assert await stub.GetMe(pb.GetMeRequest(), metadata=bearer) == session.user

        # Records come through several partitions of their topic: in no order.
        expected = {"signing_key.rotate", "admin.appoint", "sign_in.complete"}

        async def all_are_read_of() -> bool:
            answer = await stub.ListAuditRecords(pb.ListAuditRecordsRequest(), metadata=bearer)
            actions = {record.action for record in answer.audit_records}
            assert actions <= expected
            return actions == expected

        await eventually(all_are_read_of, timeout_s=30)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_missing_settings_are_named_and_end_the_process() -> None:
    environment = clean_environment()
    environment.pop("KAFKA_BOOTSTRAP_SERVERS", None)
    process = await start(environment)
    _, errors = await process.communicate()
    assert process.returncode == 2
    for variable in ("IDENTITY_DATABASE_URL", "IDENTITY_LISTEN", "KAFKA_BOOTSTRAP_SERVERS"):
        assert variable in errors.decode()


async def test_another_encryption_key_than_the_databases_ends_the_process(
    environment: dict[str, str], servicer: Any
) -> None:
    process = await start(environment | {"IDENTITY_ENCRYPTION_KEY": Fernet.generate_key().decode()})
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().startswith("identity-svc: IDENTITY_ENCRYPTION_KEY")
    assert "Traceback" not in errors.decode()
