"""Changes of many kinds, each to something of its own that is there before it is asked for."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from ams_local.rest import JSON, Answer, People, Rest
from support.running_system import ADMIN_EMAIL
from support.trade import new_service, per_request

from loadtests.proofs.kinds_of_change import KINDS, Kind

_MOST_SERVICES = count(300)
# Nobody calls these services.
_BASE_URL = "http://127.0.0.1:9/v1"


@dataclass
class Change:
    """One change, asked for once; again, under its idempotency key, if nothing was heard of it."""

    name: str
    ask: Callable[[str], Awaitable[Answer]]
    parameters: tuple[str, ...]  # of its kind's traces
    answers: list[Answer] = field(default_factory=list)
    _idempotency_key: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]

    async def make(self) -> None:
        """Asks for it, whatever comes of that."""
        self.answers.append(await self.ask(self._idempotency_key if self.kind.is_repeatable else ""))

    @property
    def is_answered(self) -> bool:
        return self.answers[-1].status in (200, 201)

    @property
    def is_lost(self) -> bool:
        """Whether its service went away over it: nobody has heard what came of it."""
        return self.answers[-1].status in (503, 504)

    @property
    def request_ids(self) -> list[str]:
        """By which the audit log knows it."""
        return [answer.headers["x-request-id"] for answer in self.answers]


@dataclass(frozen=True)
class _Cast:
    """A merchant, a consumer and a member of the consumer's projects, whose things carry a tag."""

    tag: str
    people: People
    admin: Rest
    merchant: Rest
    consumer: Rest
    member: Rest
    member_id: str

    async def changes_of_identity(self) -> list[Change]:
        tag, admin, consumer, member = self.tag, self.admin, self.consumer, self.member
        old, joined, offered = [await self._project(name) for name in ("Old", "Joined", "Offered")]
        waiting, accepted = await self._invitation(joined), await self._invitation(offered)
        await member.post(f"/project-invitations/{accepted}:accept")
        await consumer.post(f"/projects/{offered}:offer", userId=self.member_id)
        token = {"role": "CONSUMER", "scope": "TOKEN_READ", "ttlDays": 9}
        revoked = (await consumer.post("/tokens", name=f"Old {tag}", **token))["token"]["tokenId"]
        blocked = await _id_of(await self.people.register_consumer(f"blocked-{tag}@example.com"))
        suspended = await _id_of(
            await self.people.register_merchant(admin, f"suspended-{tag}@example.com", f"Suspended {tag}")
        )
        newcomer, invited, asked = (f"{word}-{tag}@example.com" for word in ("newcomer", "invited", "asked"))
        challenge = await self.people.rest.post("/auth/register/consumer", email=newcomer, name="New")
        verify = f"POST /auth/challenges/{challenge['challengeId']}:verify"
        code = {"code": await self.people.mail.next_code(newcomer)}
        viewer = {"email": asked, "role": "PROJECT_VIEWER"}
        new, renamed = {"name": f"New {tag}"}, {"name": f"Renamed {tag}"}
        # A number of its own: what is set already would be no change.
        settings = {"updateMask": "maxServices", "maxServices": next(_MOST_SERVICES), "reason": tag}
        return [
            _change("invite", admin, "POST /invites", {"email": invited}, invited),
            _change("register", self.people.rest, verify, code, newcomer),
            _change("token: create", consumer, "POST /tokens", new | token, f"New {tag}"),
            _change("token: revoke", consumer, f"POST /tokens/{revoked}:revoke", {}, revoked),
            _change("project: create", consumer, "POST /projects", new, f"New {tag}"),
            _change("project: rename", consumer, f"PATCH /projects/{old}", renamed, old, f"Renamed {tag}"),
            _change("project: invite", consumer, f"POST /projects/{old}/invitations", viewer, asked),
            _change(
                "project: join",
                member,
                f"POST /project-invitations/{waiting}:accept",
                {},
                *(joined, self.member_id, waiting),
            ),
            _change(
                "project: take over",
                member,
                f"POST /projects/{offered}:acceptOffer",
                {},
                *(offered, self.member_id),
            ),
            _change(
                "merchant: suspend", admin, f"POST /merchants/{suspended}:suspend", {}, suspended, "suspended"
            ),
            _change("consumer: block", admin, f"POST /consumers/{blocked}:block", {}, blocked, "blocked"),
            _change("settings", admin, "PATCH /platform-settings", settings, tag),
        ]

    async def changes_of_catalog(self) -> list[Change]:
        tag, admin, merchant = self.tag, self.admin, self.merchant
        draft, waiting = await self._service("Draft"), await self._service("Waiting", "submit")
        stopped = await self._live_service("Stopped")
        priced = await self._live_service("Priced")
        revised = await self._live_service("Revised")
        decided = await self._live_service("Decided")
        limit = {"updateMask": "rateLimitPerMinute", "rateLimitPerMinute": 77}
        revision = (await merchant.patch(f"/services/{decided}", **limit))["revision"]
        approve = f"POST /services/{decided}/revisions/{revision['revisionId']}:approve"
        version = {"version": revision["version"]}
        new = new_service(_BASE_URL, name=f"New {tag}")
        in_two_days = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"
        price = {"price": per_request(7_000_000), "startsOn": in_two_days}
        return [
            _change("service: create", merchant, "POST /services", new, f"New {tag}"),
            _change(
                "service: submit", merchant, f"POST /services/{draft}:submit", {}, draft, "pending_approval"
            ),
            _change("service: approve", admin, f"POST /services/{waiting}:approve", {}, waiting, "active"),
            _change(
                "service: suspend",
                admin,
                f"POST /services/{stopped}:suspend",
                {"reason": "a proof"},
                *(stopped, "suspended"),
            ),
            _change("service: revise", merchant, f"PATCH /services/{revised}", limit, revised),
            _change("revision: approve", admin, approve, version, decided),
            _change("price: schedule", merchant, f"POST /services/{priced}/prices", price, priced),
        ]

    async def changes_of_keys(self) -> list[Change]:
        tag, consumer = self.tag, self.consumer
        used, wanted, asked = [await self._live_service(name) for name in ("Used", "Wanted", "Asked")]
        granted = await consumer.post("/access-requests", serviceId=used)
        await self.admin.post(f"/access-requests/{granted['accessRequestId']}:approve")
        request = (await consumer.post("/access-requests", serviceId=asked))["accessRequestId"]
        approve = f"POST /access-requests/{request}:approve"
        edited, rotated, bound, disabled, revoked = [
            await self._key(name, used) for name in ("Edited", "Rotated", "Bound", "Disabled", "Revoked")
        ]
        new = {"name": f"New {tag}", "serviceIds": [used], "ttlDays": 30}
        name = {"name": f"Other {tag}"}
        networks = {"allowedNetworks": ["198.51.100.0/24"]}
        overlap = {"overlapMinutes": 60}
        return [
            _change("access: request", consumer, "POST /access-requests", {"serviceId": wanted}, wanted),
            _change("access: approve", self.admin, approve, {}, request),
            _change("key: create", consumer, "POST /keys", new, f"New {tag}"),
            _change("key: edit", consumer, f"PATCH /keys/{edited}", name, edited, f"Other {tag}"),
            _change("key: rotate", consumer, f"POST /keys/{rotated}:rotate", overlap, rotated),
            _change("key: networks", consumer, f"POST /keys/{bound}:setAllowedNetworks", networks, bound),
            _change("key: disable", consumer, f"POST /keys/{disabled}:disable", {}, disabled),
            _change("key: revoke", consumer, f"POST /keys/{revoked}:revoke", {}, revoked),
        ]

    async def _project(self, name: str) -> str:
        project = await self.consumer.post("/projects", name=f"{name} {self.tag}")
        return str(project["projectId"])

    async def _invitation(self, project_id: str) -> str:
        """One that waits for the member."""
        invitation = {"email": f"member-{self.tag}@example.com", "role": "PROJECT_MEMBER"}
        invited = await self.consumer.post(f"/projects/{project_id}/invitations", **invitation)
        return str(invited["invitationId"])

    async def _service(self, name: str, *steps: str) -> str:
        service = await self.merchant.post("/services", **new_service(_BASE_URL, name=f"{name} {self.tag}"))
        for step in steps:
            who = self.merchant if step == "submit" else self.admin
            await who.post(f"/services/{service['serviceId']}:{step}")
        return str(service["serviceId"])

    async def _live_service(self, name: str) -> str:
        return await self._service(name, "submit", "approve")

    async def _key(self, name: str, service_id: str) -> str:
        key = {"name": f"{name} {self.tag}", "serviceIds": [service_id], "ttlDays": 30}
        return str((await self.consumer.post("/keys", **key))["key"]["keyId"])


def _change(name: str, who: Rest, call: str, body: JSON, *parameters: str) -> Change:
    """`call`: method and path."""
    method, _, path = call.partition(" ")

    async def ask(idempotency_key: str) -> Answer:
        return await who.ask(method, path, body, idempotency_key)

    return Change(name, ask, parameters)


async def _id_of(person: Rest) -> Any:
    return (await person.get("/me"))["userId"]


async def prepare(people: People) -> list[Change]:
    """One change of each kind, by people of their own."""
    tag = secrets.token_hex(4)
    admin = await people.signed_in(ADMIN_EMAIL)
    merchant = await people.register_merchant(admin, f"merchant-{tag}@example.com", f"Maps {tag}")
    consumer = await people.register_consumer(f"consumer-{tag}@example.com")
    member = await people.register_consumer(f"member-{tag}@example.com", "Mel")
    cast = _Cast(tag, people, admin, merchant, consumer, member, await _id_of(member))
    of_each = await asyncio.gather(
        cast.changes_of_identity(), cast.changes_of_catalog(), cast.changes_of_keys()
    )
    return [change for changes in of_each for change in changes]
