"""The RPCs about what people and merchants show of themselves."""

import json
from dataclasses import dataclass
from uuid import UUID

from ams.identity.v1 import identity_service_pb2 as identity_pb
from ams.identity.v1 import profile_service_pb2 as pb
from ams.identity.v1 import profile_service_pb2_grpc as rpc
from ams_common import formats
from ams_common.clock import Clock
from ams_common.context import current_caller, current_user_id
from ams_common.database import Change, Database
from ams_common.errors import FieldViolation, InvalidArgumentError, NotFoundError
from ams_common.etags import check_etag
from ams_common.field_changes import field_change, field_changes
from ams_common.ids import uuid7
from ams_common.interceptors import Context

from identity_svc import pictures, roles
from identity_svc.addresses import trimmed
from identity_svc.messages import user_message
from identity_svc.profiles import MerchantProfile, ProfileStore
from identity_svc.store import Store

_CHANGEABLE = frozenset({"about", "links"})


@dataclass(kw_only=True, eq=False, repr=False)
class ProfileService(rpc.ProfileServiceServicer):
    database: Database[Store]
    clock: Clock

    async def UpdateMe(self, request: pb.UpdateMeRequest, context: Context) -> identity_pb.User:
        user_id, name = current_user_id(), trimmed(request.name)
        async with self.database.change() as change:
            store = ProfileStore(change.connection)
            before = await store.lock_name(user_id=user_id)
            await store.set_name(user_id=user_id, name=name)
            change.audit("user", user_id, [field_change("name", before, name)])
            return await _me(change.store, user_id)

    async def SetMyPicture(self, request: pb.SetMyPictureRequest, context: Context) -> identity_pb.User:
        user_id, content = current_user_id(), await pictures.portrait(request.content)
        async with self.database.change() as change:
            await self._replace_picture(change, user_id, content)
            return await _me(change.store, user_id)

    async def DeleteMyPicture(self, request: pb.DeleteMyPictureRequest, context: Context) -> identity_pb.User:
        user_id = current_user_id()
        async with self.database.change() as change:
            await self._replace_picture(change, user_id, None)
            return await _me(change.store, user_id)

    async def GetPicture(self, request: pb.GetPictureRequest, context: Context) -> pb.Picture:
        async with self.database.read() as opened:
            content = await ProfileStore(opened.connection).find_picture(picture_id=UUID(request.picture_id))
        if content is None:
            raise NotFoundError("picture_not_found", "There is no such picture.")
        return pb.Picture(content=content, media_type=pictures.MEDIA_TYPE)

    async def GetMerchantProfile(
        self, request: pb.GetMerchantProfileRequest, context: Context
    ) -> pb.MerchantProfile:
        async with self.database.read() as opened:
            profile = await ProfileStore(opened.connection).find_profile(user_id=current_user_id())
        return _found(profile).message()

    async def UpdateMerchantProfile(
        self, request: pb.UpdateMerchantProfileRequest, context: Context
    ) -> pb.MerchantProfile:
        fields = frozenset(request.update_mask.paths)
        if not fields or not fields <= _CHANGEABLE:
            violation = FieldViolation("updateMask", "must name about, links or both")
            raise InvalidArgumentError("update_mask_invalid", "The update mask names no field.", [violation])
        links = [{"label": trimmed(link.label), "url": link.url} for link in request.links]
        user_id = current_user_id()
        async with self.database.change() as change:
            store = ProfileStore(change.connection)
            before = _found(await store.lock_profile(user_id=user_id))
            check_etag(request.etag, before.message())
            await store.save_profile(
                user_id=user_id,
                about=request.about.strip() if "about" in fields else before.about,
                links=json.dumps(links) if "links" in fields else before.links,
            )
            return await _audited(change, store, before)

    async def SetMerchantLogo(
        self, request: pb.SetMerchantLogoRequest, context: Context
    ) -> pb.MerchantProfile:
        content = await pictures.logo(request.content)
        async with self.database.change() as change:
            return await self._replace_logo(change, content, request.etag)

    async def DeleteMerchantLogo(
        self, request: pb.DeleteMerchantLogoRequest, context: Context
    ) -> pb.MerchantProfile:
        async with self.database.change() as change:
            return await self._replace_logo(change, None, request.etag)

    async def GetPublicMerchant(
        self, request: pb.GetPublicMerchantRequest, context: Context
    ) -> pb.MerchantProfile:
        wanted = request.merchant
        async with self.database.read() as opened:
            profile = await ProfileStore(opened.connection).find_public_profile(
                slug=wanted, user_id=UUID(wanted) if formats.UUID.fullmatch(wanted) else None
            )
        return _found(profile).message()

    async def BatchGetUserNames(
        self, request: pb.BatchGetUserNamesRequest, context: Context
    ) -> pb.BatchGetUserNamesResponse:
        async with self.database.read() as opened:
            names = await ProfileStore(opened.connection).list_names(
                user_ids=list(map(UUID, request.user_ids))
            )
        return pb.BatchGetUserNamesResponse(users=names)

    async def BatchGetMerchantNames(
        self, request: pb.BatchGetMerchantNamesRequest, context: Context
    ) -> pb.BatchGetMerchantNamesResponse:
        async with self.database.read() as opened:
            names = await ProfileStore(opened.connection).list_merchant_names(
                user_ids=list(map(UUID, request.merchant_ids))
            )
        return pb.BatchGetMerchantNamesResponse(merchants=names)

    async def _replace_picture(self, change: Change[Store], user_id: UUID, content: bytes | None) -> None:
        store = ProfileStore(change.connection)
        before = await store.lock_picture_id(user_id=user_id)
        picture_id = await self._keep(store, content)
        await store.set_picture_id(user_id=user_id, picture_id=picture_id)
        if before is not None:
            await store.delete_picture(picture_id=before)
        change.audit("user", user_id, [field_change("picture_id", before, picture_id)])

    async def _replace_logo(
        self, change: Change[Store], content: bytes | None, etag: str
    ) -> pb.MerchantProfile:
        store, user_id = ProfileStore(change.connection), current_user_id()
        before = _found(await store.lock_profile(user_id=user_id))
        check_etag(etag, before.message())
        await store.set_logo_id(user_id=user_id, logo_id=await self._keep(store, content))
        if before.logo_id is not None:
            await store.delete_picture(picture_id=before.logo_id)
        return await _audited(change, store, before)

    async def _keep(self, store: ProfileStore, content: bytes | None) -> UUID | None:
        """The id of a new picture; None for none."""
        if content is None:
            return None
        picture_id = uuid7()
        await store.insert_picture(picture_id=picture_id, content=content, now=self.clock())
        return picture_id


async def _audited(change: Change[Store], store: ProfileStore, before: MerchantProfile) -> pb.MerchantProfile:
    """The profile as it is now, with what has changed in the audit log."""
    after = _found(await store.find_profile(user_id=before.user_id)).message()
    change.audit("merchant", before.user_id, field_changes(before.message(), after))
    return after


async def _me(store: Store, user_id: UUID) -> identity_pb.User:
    account = await store.find_account(user_id=user_id)
    if account is None:
        raise NotFoundError("user_not_found", "There is no such user.")
    held = roles.ordered_roles(account.roles)
    return user_message(account, roles.active_role(held, current_caller().active_role))


def _found(profile: MerchantProfile | None) -> MerchantProfile:
    if profile is None:
        raise NotFoundError("merchant_not_found", "There is no such merchant.")
    return profile
