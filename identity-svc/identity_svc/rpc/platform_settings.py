"""The RPCs about what holds for the whole platform (FR4-ADMIN-03)."""

from dataclasses import dataclass

from ams.identity.v1 import settings_service_pb2 as pb
from ams.identity.v1 import settings_service_pb2_grpc as rpc
from ams_common.clock import Clock
from ams_common.context import current_user_id
from ams_common.database import Database
from ams_common.field_changes import field_changes
from ams_common.interceptors import Context
from ams_common.paging import page_request

from identity_svc.platform_settings import CHANGEABLE, SettingsStore, changed, settings_json
from identity_svc.store import Store


@dataclass(kw_only=True, eq=False, repr=False)
class SettingsService(rpc.SettingsServiceServicer):
    database: Database[Store]
    clock: Clock

    async def GetPlatformSettings(
        self, request: pb.GetPlatformSettingsRequest, context: Context
    ) -> pb.PlatformSettings:
        async with self.database.read() as opened:
            return await SettingsStore(opened.connection).find_settings()

    async def UpdatePlatformSettings(
        self, request: pb.UpdatePlatformSettingsRequest, context: Context
    ) -> pb.PlatformSettings:
        async with self.database.change() as change:
            store = SettingsStore(change.connection)
            await store.lock_settings()
            present = await store.find_settings()
            settings = changed(present, request)
            changes = field_changes(present, settings, only=CHANGEABLE)
            if not changes:
                change.nothing_to_audit()
                return present
            await store.insert_settings(
                version=settings.version,
                settings=settings_json(settings),
                changed_by=current_user_id(),
                now=self.clock(),
                reason=request.reason,
            )
            change.audit("platform_settings", str(settings.version), changes, reason=request.reason)
        return settings

    async def ListPlatformSettingsChanges(
        self, request: pb.ListPlatformSettingsChangesRequest, context: Context
    ) -> pb.ListPlatformSettingsChangesResponse:
        async with self.database.read() as opened:
            page = await SettingsStore(opened.connection).list_settings(page_request(request))
        return pb.ListPlatformSettingsChangesResponse(changes=page.rows, next_page_token=page.next_token)
