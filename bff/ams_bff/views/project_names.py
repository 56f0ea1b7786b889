"""What pages call projects: a consumer's own, by one call for each page."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ams.identity.v1 import project_service_pb2 as pb
from ams.policy.v1.policy_pb2 import CONSUMER

from ams_bff.http.visits import Visit

Names: TypeAlias = Mapping[str, str]

# As many as one can be in.
_MOST = 200


async def my_projects(visit: Visit, *, with_closed: bool = False) -> Sequence[pb.Project]:
    """Those that the reader is in, by name; none for who isn't there as a consumer."""
    if visit.role != CONSUMER:
        return []
    return (await visit.api.projects.ListProjects(page_size=_MOST, with_closed=with_closed)).projects


async def project_names(visit: Visit) -> Names:
    """Names by id, closed projects' too."""
    return {each.project_id: each.name for each in await my_projects(visit, with_closed=True)}


async def project_choices(visit: Visit) -> list[tuple[str, str]]:
    """Ids and names, by name, for a select; none when nobody could be asked."""
    found = await visit.or_none_if_down(my_projects(visit, with_closed=True))
    return [
        (each.project_id, f"{each.name} (closed)" if each.HasField("closed_at") else each.name)
        for each in found or ()
    ]
