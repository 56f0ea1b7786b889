"""What people and merchants show of themselves, as rows and messages."""

import json
from dataclasses import dataclass
from uuid import UUID

from ams.identity.v1 import profile_service_pb2 as pb
from ams_common.queries import QueryStore, many, maybe_value, one, run

from identity_svc.pictures import picture_path


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantProfile:
    """`links` is JSON: a list of objects with label and url."""

    user_id: UUID
    slug: str
    company_name: str
    about: str
    links: str
    logo_id: UUID | None

    def message(self) -> pb.MerchantProfile:
        return pb.MerchantProfile(
            merchant_id=str(self.user_id),
            slug=self.slug,
            company_name=self.company_name,
            about=self.about,
            links=[pb.MerchantLink(**link) for link in json.loads(self.links)],
            logo_url=picture_path(self.logo_id),
        )


def user_name_message(*, user_id: UUID, name: str, email: str) -> pb.UserName:
    return pb.UserName(user_id=str(user_id), name=name, email=email)


def merchant_name_message(*, user_id: UUID, company_name: str) -> pb.MerchantName:
    return pb.MerchantName(merchant_id=str(user_id), company_name=company_name)


class ProfileStore(QueryStore, package="identity_svc", file="profile_queries.sql"):
    set_name = run()
    lock_name = maybe_value(str)
    insert_picture = run()
    find_picture = maybe_value(bytes)
    delete_picture = run()
    lock_picture_id = maybe_value(UUID)
    set_picture_id = run()
    lock_profile = one(MerchantProfile)
    find_profile = one(MerchantProfile)
    find_public_profile = one(MerchantProfile)
    save_profile = run()
    set_logo_id = run()
    list_names = many(user_name_message)
    list_merchant_names = many(merchant_name_message)
