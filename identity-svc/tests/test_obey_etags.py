"""Projects, memberships, profiles and the platform's settings say which state they are in, and are changed
only from the one that was seen."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import pytest
from ams.identity.v1 import (
    identity_service_pb2,
    notifications_service_pb2,
    profile_service_pb2,
    project_service_pb2,
    second_factor_service_pb2,
    session_service_pb2,
    settings_service_pb2,
    team_service_pb2,
    token_service_pb2,
)
from ams.identity.v1.events_pb2 import PROJECT_MEMBER, PROJECT_VIEWER
from ams_common.testing.etags import STALE, assert_obeyed, error_of, rpcs_about_etags, takes_etag
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message_factory import GetMessageClass
from PIL import Image

SERVICES = [
    service
    for module in (
        *(identity_service_pb2, notifications_service_pb2, profile_service_pb2, project_service_pb2),
        *(second_factor_service_pb2, session_service_pb2, settings_service_pb2, team_service_pb2),
        token_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
]
RPCS = {rpc.name: rpc for service in SERVICES for rpc in service.methods}
# Nobody who calls them has seen what they answer with: they make it, or let its caller in.
FIRST_SIGHTS = {"CreateProject", "AcceptProjectInvitation"}


def logo(colour: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (40, 20), colour).save(file, "PNG")
    return file.getvalue()


# What is changed, who does it, and what each is asked with besides its ids.
CASES: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "UpdateProject": ("project", "Olga", {"name": "Tiles"}),
    "CloseProject": ("project", "Olga", {}),
    "RemoveProjectMember": ("project", "Olga", {}),
    "OfferProject": ("project", "Olga", {}),
    "WithdrawProjectOffer": ("offer", "Olga", {}),
    "AcceptProjectOffer": ("offer", "Max", {}),
    "DeclineProjectOffer": ("offer", "Max", {}),
    "UpdateProjectMember": ("membership", "Olga", {"role": PROJECT_VIEWER}),
    "UpdatePlatformSettings": (
        *("settings", "admin"),
        {"update_mask": FieldMask(paths=["max_services"]), "max_services": 7},
    ),
    "UpdateMerchantProfile": (
        *("profile", "Mia"),
        {"update_mask": FieldMask(paths=["about"]), "about": "Maps of everywhere"},
    ),
    "SetMerchantLogo": ("profile", "Mia", {"content": logo("blue")}),
    "DeleteMerchantLogo": ("profile", "Mia", {}),
}
ABOUT_A_MEMBER = {"RemoveProjectMember", "OfferProject", "UpdateProjectMember"}


class Case:
    """What an RPC changes, in the state that it needs, and those who call."""

    def __init__(self, projects: Any, rpc: str) -> None:
        self.projects, self.rpc = projects, rpc
        self.what, self._who, self._fields = CASES[rpc]
        self._metadata: dict[str, Any] = {"admin": projects.identity.admin}
        self._ids: dict[str, str] = {}
        self._member_id = ""

    async def prepare(self) -> None:
        identity = self.projects.identity
        request: Any
        if self.what == "settings":
            return
        if self.what == "profile":
            self._metadata["Mia"] = identity.acting(await identity.register_merchant("mia@example.com"))
            request = profile_service_pb2.SetMerchantLogoRequest(content=logo("red"))
            await identity.profiles.SetMerchantLogo(request, metadata=self._metadata["Mia"])
            return
        olga, max_, other = [await self.projects.person(name) for name in ("Olga", "Max", "Other")]
        self._metadata |= {"Olga": olga.metadata, "Max": max_.metadata, "outsider": other.metadata}
        project_id = (await self.projects.create(olga)).project_id
        await self.projects.join(project_id, olga, max_, PROJECT_MEMBER)
        self._ids, self._member_id = {"project_id": project_id}, max_.user_id
        if self.rpc in ABOUT_A_MEMBER:
            self._ids["user_id"] = max_.user_id
        if self.what == "offer":
            request = project_service_pb2.OfferProjectRequest(project_id=project_id, user_id=max_.user_id)
            await self.projects.stub.OfferProject(request, metadata=olga.metadata)

    async def read(self) -> Any:
        """What the etag is of, as whoever changes it sees it."""
        metadata = self._metadata[self._who]
        identity, stub = self.projects.identity, self.projects.stub
        reading: Any
        if self.what == "settings":
            reading = settings_service_pb2.GetPlatformSettingsRequest()
            return await identity.settings.GetPlatformSettings(reading, metadata=metadata)
        if self.what == "profile":
            reading = profile_service_pb2.GetMerchantProfileRequest()
            return await identity.profiles.GetMerchantProfile(reading, metadata=metadata)
        project_id = self._ids["project_id"]
        if self.what == "membership":
            reading = project_service_pb2.ListProjectMembersRequest(project_id=project_id)
            listed = await stub.ListProjectMembers(reading, metadata=metadata)
            return next(member for member in listed.members if member.user_id == self._member_id)
        reading = project_service_pb2.GetProjectRequest(project_id=project_id)
        return await stub.GetProject(reading, metadata=metadata)

    async def change(self, etag: str, who: str = "") -> Any:
        rpc, identity = RPCS[self.rpc], self.projects.identity
        stub = {"settings": identity.settings, "profile": identity.profiles}.get(
            self.what, self.projects.stub
        )
        request = GetMessageClass(rpc.input_type)(**self._ids, **self._fields, etag=etag)
        return await getattr(stub, self.rpc)(request, metadata=self._metadata[who or self._who])


@pytest.fixture(params=CASES)
async def case(request: pytest.FixtureRequest, projects: Any) -> Case:
    made = Case(projects, request.param)
    await made.prepare()
    return made


def test_every_rpc_that_changes_what_has_an_etag_takes_it_and_is_shown_to_obey() -> None:
    assert {name for name, rpc in RPCS.items() if takes_etag(rpc)} == set(CASES)
    assert rpcs_about_etags(SERVICES) - FIRST_SIGHTS == set(CASES)


async def test_of_twenty_at_once_one_changes_it_and_is_told_its_new_etag(case: Case) -> None:
    answer = await assert_obeyed(case.read, case.change)
    assert answer == await case.read()


async def test_without_an_etag_it_is_changed_whatever_it_is(case: Case) -> None:
    before = await case.read()
    await case.change("")
    assert (await case.read()).etag != before.etag


async def test_another_projects_etag_tells_nothing(case: Case) -> None:
    if case.what in ("settings", "profile"):
        return  # one's own, or the platform's: there is no other that one could name
    etag = (await case.read()).etag
    refused = [await error_of(case.change(given, "outsider")) for given in (etag, STALE, "")]
    assert {error.code for error in refused} == {"project_not_found"}


async def test_lists_say_the_same_etags_as_the_projects_themselves(projects: Any) -> None:
    olga, max_ = [await projects.person(name) for name in ("Olga", "Max")]
    made = [await projects.create(olga, name) for name in ("A", "B", "C")]
    await projects.join(made[0].project_id, olga, max_, PROJECT_MEMBER)
    for person in (olga, max_):
        listed = await projects.stub.ListProjects(
            project_service_pb2.ListProjectsRequest(), metadata=person.metadata
        )
        assert listed.projects
        for project in listed.projects:
            request = project_service_pb2.GetProjectRequest(project_id=project.project_id)
            assert project == await projects.stub.GetProject(request, metadata=person.metadata)
            assert len(project.etag) == len(STALE)
