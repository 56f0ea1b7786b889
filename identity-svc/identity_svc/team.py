"""The admins, as rows, and what is said of them."""

from datetime import datetime
from uuid import UUID

from ams.identity.v1 import team_service_pb2 as pb
from ams_common.clock import to_timestamp
from ams_common.queries import QueryStore, column, one, page, run, value

from identity_svc.pictures import picture_path


def admin_message(
    *, user_id: UUID, email: str, name: str, granted_at: datetime, picture_id: UUID | None
) -> pb.Admin:
    return pb.Admin(
        user_id=str(user_id),
        email=email,
        name=name,
        joined_at=to_timestamp(granted_at),
        avatar_url=picture_path(picture_id),
    )


class TeamStore(QueryStore, package="identity_svc", file="team_queries.sql"):
    list_admins = page(admin_message)
    find_admin = one(admin_message)
    lock_admins = column(UUID)
    take_admin_role = run()
    remember_dismissal = run()
    forget_dismissal = run()
    was_dismissed = value(bool)
