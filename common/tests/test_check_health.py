"""A container is healthy while its process answers by everything that it serves."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import grpc
import pytest
from ams_common.healthcheck import is_alive
from ams_common.ports import free_port
from ams_common.processes import PROCESSES
from grpc_health.v1 import health, health_pb2_grpc


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def http_server(port: int) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), _Page)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_server(port: int) -> Iterator[None]:
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()


def test_the_registry_is_alive_only_when_both_of_its_servers_answer() -> None:
    rpc_port, http_port = free_port(), free_port()
    told = {"REGISTRY_LISTEN": f"0.0.0.0:{rpc_port}", "REGISTRY_HTTP_LISTEN": f"0.0.0.0:{http_port}"}
    with grpc_server(rpc_port):
        assert not is_alive(PROCESSES["registry-svc"], told)
        with http_server(http_port):
            assert is_alive(PROCESSES["registry-svc"], told)
    with http_server(http_port):
        assert not is_alive(PROCESSES["registry-svc"], told)


@pytest.mark.parametrize("name", ["ams-gateway", "ams-bff"])
def test_those_with_pages_are_asked_for_one(name: str) -> None:
    port = free_port()
    told = {PROCESSES[name].health_variable: f"0.0.0.0:{port}"}
    assert not is_alive(PROCESSES[name], told)
    with http_server(port):
        assert is_alive(PROCESSES[name], told)


def test_the_gateway_is_asked_where_its_operators_ask_for_its_public_port_has_calls_only() -> None:
    public_port, operators_port = free_port(), free_port()
    told = {
        "GATEWAY_LISTEN": f"0.0.0.0:{public_port}",
        "GATEWAY_METRICS_LISTEN": f"0.0.0.0:{operators_port}",
    }
    with http_server(public_port):
        assert not is_alive(PROCESSES["ams-gateway"], told)
    with http_server(operators_port):
        assert is_alive(PROCESSES["ams-gateway"], told)


def test_a_service_without_pages_is_asked_by_grpc() -> None:
    port = free_port()
    told = {"KEYS_LISTEN": f"0.0.0.0:{port}"}
    assert not is_alive(PROCESSES["keys-svc"], told)
    with grpc_server(port):
        assert is_alive(PROCESSES["keys-svc"], told)
