"""GetRevisions: each list that services follow has another revision once there is something new in it."""

from collections.abc import Awaitable, Callable
from typing import Any

from ams.identity.v1 import identity_service_pb2 as pb
from ams.identity.v1 import settings_service_pb2 as settings_pb
from ams_common.testing.tokens import TestIssuer
from google.protobuf.field_mask_pb2 import FieldMask


async def revisions(identity: Any, issuer: TestIssuer) -> pb.Revisions:
    metadata = (("authorization", f"Bearer {issuer.service_token('billing-svc')}"),)
    answer: pb.Revisions = await identity.stub.GetRevisions(pb.GetRevisionsRequest(), metadata=metadata)
    return answer


def changed(before: pb.Revisions, after: pb.Revisions) -> set[str]:
    """The lists that have another revision."""
    names = [descriptor.name for descriptor in pb.Revisions.DESCRIPTOR.fields]
    return {name for name in names if getattr(before, name) != getattr(after, name)}


async def test_a_list_has_another_revision_with_each_change_and_none_without(
    identity: Any, projects: Any, issuer: TestIssuer
) -> None:
    assert await revisions(identity, issuer) == pb.Revisions()
    cora = await projects.person("Cora")
    block = pb.BlockConsumerRequest(consumer_id=cora.user_id)
    unblock = pb.UnblockConsumerRequest(consumer_id=cora.user_id)
    settings = settings_pb.UpdatePlatformSettingsRequest(
        update_mask=FieldMask(paths=["max_services"]), max_services=7
    )
    session = await identity.sign_in(cora.email)
    steps: list[tuple[Callable[[], Awaitable[Any]], set[str]]] = [
        (lambda: projects.create(cora), {"projects"}),
        (lambda: projects.create(cora, "Tiles"), {"projects"}),
        (
            lambda: identity.settings.UpdatePlatformSettings(settings, metadata=identity.admin),
            {"platform_settings"},
        ),
        (
            lambda: identity.stub.SignOut(pb.SignOutRequest(refresh_token=session.refresh_token)),
            {"token_ends"},
        ),
        # What somebody may do has changed, and with it what their tokens say.
        (lambda: identity.stub.BlockConsumer(block, metadata=identity.admin), {"standings", "token_ends"}),
        (
            lambda: identity.stub.UnblockConsumer(unblock, metadata=identity.admin),
            {"standings", "token_ends"},
        ),
        (lambda: projects.person("Otto"), {"standings"}),
        (lambda: identity.sign_in(cora.email), set()),
    ]
    before = await revisions(identity, issuer)
    for number, (step, expected) in enumerate(steps):
        await step()
        after = await revisions(identity, issuer)
        assert changed(before, after) == expected, number
        before = after
