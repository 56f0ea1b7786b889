"""What admins have set for the whole platform, as the services that obey it know it.

identity-svc keeps the settings and their history. A service that obeys one asks for them within a second of
a change, and holds the last answer: while identity-svc is away nobody can change them.
"""

import grpc
from ams.identity.v1 import settings_service_pb2 as pb
from ams.identity.v1 import settings_service_pb2_grpc as rpc

from ams_common.client import ServiceToken, invoke
from ams_common.revisions import Revisions

# In force until an admin changes something.
DEFAULTS = pb.PlatformSettings(
    version=0,
    is_registration_open=True,
    allowed_mail_domains=[],
    audit_retention_days=3650,
    usage_retention_days=90,
    max_active_keys=100,
    max_services=200,
)


class PlatformSettingsFollower:
    """Knows the settings in force. `channel` is this follower's alone (see open_channel); `service` and
    `secret` prove who asks.

    `current` is what identity-svc said last; DEFAULTS until it has said anything, and `is_known` tells that.
    """

    def __init__(self, channel: grpc.aio.Channel, service: str, secret: str) -> None:
        self._stub = rpc.SettingsServiceStub(channel)
        self._token = ServiceToken(channel, service, secret)
        self.current = DEFAULTS
        self.is_known = False

    async def run(self, revisions: Revisions) -> None:
        """For ever."""
        await revisions.follow("platform_settings", "following of platform settings", self.ask)

    async def ask(self) -> None:
        """Raises AppError when identity-svc doesn't answer."""
        request = pb.GetPlatformSettingsRequest()
        self.current = await invoke(self._stub.GetPlatformSettings, request, token=await self._token.get())
        self.is_known = True
