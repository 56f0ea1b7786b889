"""Has a document examined, in a process that is ended when it takes too long."""

import asyncio
import base64
import json
import logging
import subprocess
import sys
from dataclasses import dataclass

from ams.catalog.v1.openapi_pb2 import ApiReference
from ams_common.errors import FieldViolation, InvalidArgumentError, UnavailableError

log = logging.getLogger(__name__)

MOST_BYTES = 1024 * 1024
# What the ten seconds of work that the process allows itself take at most on a busy machine.
MOST_S = 30.0
# Nothing of ours: no address, no secret.
_ENVIRONMENT = {"PYTHONIOENCODING": "utf-8"}
# Each is busy for a second, on a core of its own.
_working = asyncio.Semaphore(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What a good document says, with redacting.ADDRESS in place of its servers' addresses. `public_content`:
    the document as consumers get it."""

    media_type: str
    openapi_version: str
    title: str
    version: str
    reference: ApiReference
    public_content: str


async def examine(content: str, within_s: float = MOST_S) -> Examined:
    """Raises InvalidArgumentError openapi_document_invalid with a violation for each thing that is wrong, and
    UnavailableError examination_slow when the machine is too busy to say in time."""
    text = content.encode()
    if len(text) > MOST_BYTES:
        raise _invalid("It is too large: 1 MiB is allowed.")
    try:
        async with asyncio.timeout(within_s), _working:
            answer = await _ask(text)
    except OSError as error:  # too late, or there is no room for another process
        log.warning("a document wasn't examined", extra={"reason": repr(error)})
        raise UnavailableError(
            "examination_slow", "Too much is going on to examine the document. Try again shortly."
        ) from None
    if answer is None:
        raise _invalid("It is too intricate to be examined.")
    found = json.loads(answer)
    if problems := found.get("problems"):
        raise _invalid(*problems)
    return Examined(
        media_type=found["media_type"],
        openapi_version=found["openapi_version"],
        title=found["title"],
        version=found["version"],
        reference=ApiReference.FromString(base64.b64decode(found["reference"])),
        public_content=found["public_content"],
    )


async def _ask(text: bytes) -> bytes | None:
    """What the other process says; None for one that ended without a word, as when it has worked too long."""
    # Not the loop's own, which forks: gRPC would start its threads again in the child, before its exec, and
    # now and then the child dies of it (grpc/grpc#43055; grpcio 1.85, uvloop 0.23). Popen calls vfork().
    process = subprocess.Popen(  # noqa: ASYNC220 - milliseconds
        [sys.executable, "-I", "-m", "catalog_svc.openapi"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT,
    )
    try:
        answer, _ = await asyncio.to_thread(process.communicate, text)
    finally:
        # One that is too slow, or whose caller has gone; the thread reaps it.
        process.kill()
    if process.returncode:
        log.warning("a document couldn't be examined", extra={"returncode": process.returncode})
        return None
    return answer


def _invalid(*problems: str) -> InvalidArgumentError:
    violations = [FieldViolation("content", problem) for problem in problems]
    return InvalidArgumentError(
        "openapi_document_invalid", f"The document can't be used. {problems[0]}", violations
    )
