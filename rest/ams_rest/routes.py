"""The REST routes, from the google.api.http options of the services' contracts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from ams.policy.v1.policy_pb2 import Rule, rule
from ams_common.errors import NotFoundError
from google.api.annotations_pb2 import http
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import Descriptor, MethodDescriptor

from ams_rest.areas import Area
from ams_rest.field_paths import resolve_template
from ams_rest.http_errors import MethodNotAllowedError
from ams_rest.path_templates import PathTemplate, RequestPath

PREFIX = "/api"


class RouteError(Exception):
    """A google.api.http option can't be served as it stands."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path by which an RPC is called."""

    area: Area
    rpc: MethodDescriptor
    http_method: str
    template: PathTemplate
    # What the JSON body holds: "*" all fields but the path's, a field's proto name, or "" for no body.
    body: str
    rule: Rule

    @property
    def request(self) -> Descriptor:
        """Returns the descriptor of the request's message."""
        descriptor: Descriptor = self.rpc.input_type
        return descriptor


@dataclass(frozen=True, slots=True)
class Match:
    """A request's route, and what its path says."""

    route: Route
    variables: Mapping[str, str]


def routes_of(areas: Iterable[Area]) -> list[Route]:
    """All routes of the areas' RPCs; an RPC without google.api.http has none, and so has none that streams.

    Raises RouteError or TemplateError when an option makes no sense.
    """
    return [route for area in areas for rpc in area.service.methods for route in _routes_of_rpc(area, rpc)]


def _routes_of_rpc(area: Area, rpc: MethodDescriptor) -> Iterator[Route]:
    options = rpc.GetOptions()
    if not options.HasExtension(http):
        return
    http_rule: HttpRule = options.Extensions[http]
    for binding in (http_rule, *http_rule.additional_bindings):
        route = _route(area, rpc, binding, options.Extensions[rule])
        _check(route, binding)
        yield route


def _route(area: Area, rpc: MethodDescriptor, binding: HttpRule, policy: Rule) -> Route:
    verb = binding.WhichOneof("pattern")
    if verb not in ("get", "post", "put", "patch", "delete"):
        raise RouteError(f"{rpc.full_name}: an HTTP method that is not served: {verb}")
    template = PathTemplate.parse(PREFIX + getattr(binding, verb))
    return Route(area, rpc, verb.upper(), template, binding.body, policy)


def _check(route: Route, binding: HttpRule) -> None:
    name = route.rpc.full_name
    if route.rpc.client_streaming or route.rpc.server_streaming:
        # An answer is one JSON document. Live figures are for gRPC, and for pages, which the BFF keeps up
        # to date.
        raise RouteError(f"{name}: streams are not served")
    if binding.response_body:
        raise RouteError(f"{name}: response_body is not served")
    for variable in route.template.variables:
        path = resolve_template(route.request, variable)
        if path is None or path[-1].is_repeated:
            raise RouteError(f"{name}: the path names {variable}, which is not a single value")
    field = route.request.fields_by_name.get(route.body)
    if route.body not in ("", "*") and (field is None or field.message_type is None):
        raise RouteError(f"{name}: the body names {route.body}, which is not a field of objects")


class RouteTable:
    """Finds the route of a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """Raises RouteError when a request could belong to two routes."""
        for one, two in combinations(routes, 2):
            if one.http_method == two.http_method and one.template.overlaps(two.template):
                raise RouteError(f"{one.rpc.full_name} and {two.rpc.full_name} have the same path")
        self.routes = tuple(routes)

    def find(self, http_method: str, raw_path: bytes) -> Match:
        """HEAD goes where GET does. Raises AppError: route_not_found, method_not_allowed, path_invalid."""
        path = RequestPath.parse(raw_path)
        wanted = "GET" if http_method == "HEAD" else http_method
        allowed: set[str] = set()
        for route in self.routes:
            variables = route.template.match(path)
            if variables is None:
                continue
            if route.http_method == wanted:
                return Match(route, variables)
            allowed.add(route.http_method)
        if not allowed:
            raise NotFoundError("route_not_found", "There is nothing at this path.")
        raise MethodNotAllowedError(sorted(allowed | ({"HEAD"} if "GET" in allowed else set())))
