"""Which view answers which path, and who may see it."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from ams.policy.v1.policy_pb2 import Role
from ams_common.errors import NotFoundError, PermissionDeniedError, UnauthenticatedError
from ams_rest.http_errors import MethodNotAllowedError
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from ams_bff.http.visits import Visit

Handler: TypeAlias = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True)
class View:
    """One handler; its path is written as Starlette's: "/marketplace/{service}".

    `role`: who may see it; None: everybody, signed in or not. `is_for_members`: anybody who is signed in.
    `is_proven_by_path`: the path holds what nobody else can know, so a form needs no other proof.
    """

    method: str
    path: str
    handler: Handler
    role: Role.ValueType | None = None
    is_for_members: bool = False
    is_proven_by_path: bool = False

    def admit(self, visit: Visit) -> None:
        """Raises UnauthenticatedError or PermissionDeniedError."""
        if self.role is None and not self.is_for_members:
            return
        person = visit.session.person
        if person is None:
            raise UnauthenticatedError("sign_in_required", "Sign in to see this page.")
        if self.role is not None and self.role not in person.roles:
            raise PermissionDeniedError("role_required", "Your account doesn't have the role for this page.")


def page(
    path: str, handler: Handler, role: Role.ValueType | None = None, is_for_members: bool = False
) -> View:
    """Registers a view that is read with GET."""
    return View("GET", path, handler, role, is_for_members)


def action(
    path: str, handler: Handler, role: Role.ValueType | None = None, is_for_members: bool = False
) -> View:
    """A view that a form is posted to."""
    return View("POST", path, handler, role, is_for_members)


class PathViews:
    """The views of one path, by method: an ASGI app.

    Of a function Starlette's Route refuses all methods but GET by itself, with an answer that isn't ours.
    """

    def __init__(self, views: Iterable[View], serve: "Serve") -> None:
        self._by_method = {view.method: view for view in views}
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(self, scope, receive, send)

    def find(self, method: str) -> View:
        """Raises NotFoundError or MethodNotAllowedError."""
        if not self._by_method:
            raise NotFoundError("route_not_found", "There is nothing at this path.")
        view = self._by_method.get("GET" if method == "HEAD" else method)
        if view is None:
            allowed = {*self._by_method, *(["HEAD"] if "GET" in self._by_method else [])}
            raise MethodNotAllowedError(sorted(allowed))
        return view


# Answers a request with one of its path's views, or with why not.
Serve: TypeAlias = Callable[[PathViews, Scope, Receive, Send], Awaitable[None]]


def router_of(views: Iterable[View], serve: Serve) -> Router:
    """Has every request answered by `serve`, also one for a path that has no view."""
    by_path: dict[str, list[View]] = {}
    for view in views:
        by_path.setdefault(view.path, []).append(view)
    # A path without variables is tried before one that could swallow it: "/keys/new", "/keys/{key}".
    paths = sorted(by_path, key=lambda path: path.count("{"))
    routes = [Route(path, PathViews(by_path[path], serve)) for path in paths]
    return Router(routes, redirect_slashes=False, default=PathViews((), serve))
