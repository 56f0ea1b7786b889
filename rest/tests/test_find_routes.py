import pytest
from ams.policy.v1.policy_pb2 import rule
from ams_common.errors import NotFoundError
from ams_rest.areas import AREAS, Area
from ams_rest.http_errors import MethodNotAllowedError
from ams_rest.routes import RouteError, RouteTable, routes_of
from google.api.annotations_pb2 import http
from google.protobuf import descriptor_pb2, descriptor_pool

TABLE = RouteTable(routes_of(AREAS))
RPCS = [(area, rpc) for area in AREAS for rpc in area.service.methods]


@pytest.mark.parametrize(("area", "rpc"), [pytest.param(*pair, id=pair[1].full_name) for pair in RPCS])
def test_every_rpc_with_an_http_option_has_its_route_and_no_other_has_one(area: object, rpc: object) -> None:
    options = rpc.GetOptions()  # type: ignore[attr-defined]
    found = [route for route in TABLE.routes if route.rpc is rpc]
    if not options.HasExtension(http):
        assert found == []
        return
    [route] = found
    verb = options.Extensions[http].WhichOneof("pattern")
    path = "/api" + getattr(options.Extensions[http], verb)
    filled = path.replace("{", "a-").replace("}", "").encode()
    match = TABLE.find(verb.upper(), filled)
    assert match.route is route
    assert match.variables == {name: f"a-{name}" for name in route.template.variables}
    assert route.area is area


def test_what_only_services_call_has_no_route() -> None:
    routed = {route.rpc.name for route in TABLE.routes}
    only_services = {
        rpc.name
        for _, rpc in RPCS
        if (who := rpc.GetOptions().Extensions[rule]).callers and not (who.public or who.roles)
    }
    assert only_services and routed.isdisjoint(only_services)
    assert routed.isdisjoint({"GetJwks", "IssueServiceToken"})


def test_what_streams_has_no_route() -> None:
    streaming = {rpc.name for _, rpc in RPCS if rpc.server_streaming}
    assert "WatchConsumerUsage" in streaming
    assert streaming.isdisjoint(route.rpc.name for route in TABLE.routes)


def test_a_route_to_what_streams_is_refused_at_the_start() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="live.proto", package="live", syntax="proto3")
    file.message_type.add(name="M")
    method = file.service.add(name="Live").method.add(
        name="Watch", input_type=".live.M", output_type=".live.M", server_streaming=True
    )
    method.options.Extensions[http].get = "/v1/live"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    with pytest.raises(RouteError, match="streams"):
        routes_of([Area("live", pool.FindServiceByName("live.Live"), "live")])


def test_two_routes_with_one_path_are_refused_at_the_start() -> None:
    with pytest.raises(RouteError, match="have the same path"):
        RouteTable([*TABLE.routes, TABLE.routes[0]])


def test_head_goes_where_get_does() -> None:
    assert TABLE.find("HEAD", b"/api/v1/me") == TABLE.find("GET", b"/api/v1/me")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", b"/api/v1/me", ["GET", "HEAD", "PATCH"]),
        ("DELETE", b"/api/v1/services", ["GET", "HEAD", "POST"]),
        ("GET", b"/api/v1/services/1:approve", ["POST"]),
        ("OPTIONS", b"/api/v1/services/1", ["GET", "HEAD", "PATCH"]),
    ],
)
def test_another_method_is_told_which_are_allowed(method: str, path: bytes, allowed: list[str]) -> None:
    with pytest.raises(MethodNotAllowedError) as refusal:
        TABLE.find(method, path)
    assert refusal.value.allowed == allowed


@pytest.mark.parametrize(
    "path", [b"/", b"/api", b"/api/v1", b"/v1/me", b"/api/v1/me/", b"/api/v1/services/1:frob"]
)
def test_a_path_that_nobody_serves_is_not_found(path: bytes) -> None:
    with pytest.raises(NotFoundError) as refusal:
        TABLE.find("GET", path)
    assert refusal.value.code == "route_not_found"
