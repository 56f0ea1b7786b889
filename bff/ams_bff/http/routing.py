"""Which view answers which path, and who may see it."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from ams.policy.v1.policy_pb2 import Role
from ams_common.errors import NotFoundError, PermissionDeniedError, UnauthenticatedError
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Scope

from ams_bff.http.visits import Visit
from ams_bff.refusals import MethodNotAllowedError

Handler: TypeAlias = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True)
class View:
    """One handler. `role`: who may see it; None: everybody, signed in or not. `is_for_members`: anybody
    who is signed in."""

    method: str
    path: str
    handler: Handler
    role: Role.ValueType | None = None
    is_for_members: bool = False

    def admit(self, visit: Visit) -> None:
        """Raises UnauthenticatedError or PermissionDeniedError."""
        if self.role is None and not self.is_for_members:
            return
        if visit.person is None:
            raise UnauthenticatedError("sign_in_required", "Sign in to see this page.")
        if self.role is not None and self.role not in visit.person.roles:
            raise PermissionDeniedError("role_required", "Your account doesn't have the role for this page.")


def page(
    path: str, handler: Handler, role: Role.ValueType | None = None, is_for_members: bool = False
) -> View:
    """What is read."""
    return View("GET", path, handler, role, is_for_members)


def action(
    path: str, handler: Handler, role: Role.ValueType | None = None, is_for_members: bool = False
) -> View:
    """What a form is posted to."""
    return View("POST", path, handler, role, is_for_members)


class Views:
    """All of them, found by path; paths are written as Starlette's: "/marketplace/{service}"."""

    def __init__(self, views: Iterable[View]) -> None:
        # A path without variables is tried before one that could swallow it: "/keys/new", "/keys/{key}".
        ordered = sorted(views, key=lambda view: view.path.count("{"))
        self._compiled = [(compile_path(view.path), view) for view in ordered]

    def find(self, scope: Scope) -> View:
        """The view, with the path's variables put into the scope. Raises NotFoundError or
        MethodNotAllowedError."""
        wanted = "GET" if scope["method"] == "HEAD" else scope["method"]
        allowed: set[str] = set()
        for (pattern, _, convertors), view in self._compiled:
            found = pattern.match(scope["path"])
            if found is None:
                continue
            if view.method == wanted:
                texts = found.groupdict()
                scope["path_params"] = {name: convertors[name].convert(texts[name]) for name in texts}
                return view
            allowed.add(view.method)
        if not allowed:
            raise NotFoundError("route_not_found", "There is nothing at this path.")
        raise MethodNotAllowedError(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))
