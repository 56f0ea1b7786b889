"""Who is refused a pull is written down, where it is known who that is."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ams_common.errors import AppError
from starlette.requests import Request

from registry_svc.auth.authorizer import Puller
from registry_svc.images.publishing import Ledger
from registry_svc.oci.errors import OciError
from registry_svc.oci.tokens import Door

log = logging.getLogger(__name__)


class Refusals:
    """Pulls that were denied to good API keys."""

    def __init__(self, door: Door, ledger: Ledger) -> None:
        self._door = door
        self._ledger = ledger

    @asynccontextmanager
    async def written_down(self, request: Request, name: str, reference: str) -> AsyncIterator[None]:
        """Around a pull: a DENIED that leaves the block is in the audit log before the client has it."""
        try:
            yield
        except OciError as refusal:
            if refusal.code == "DENIED":
                await self._write(request, name, reference, refusal.message)
            raise

    async def _write(self, request: Request, name: str, reference: str, reason: str) -> None:
        try:
            who = await self._door.gatekeeper.recognise(self._door.access(request))
        except (OciError, AppError):
            log.warning("a refused pull is nobody's", extra={"image": name})
            return
        if isinstance(who, Puller):
            await self._ledger.refuse_pull(who, name, reference, reason)
