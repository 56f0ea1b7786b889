"""`python -m ams_common.healthcheck`: whether the service of this container is alive; the exit code says.

AMS_SERVICE names the service. Its addresses are those that it listens on, by its own settings.
"""

import os
import sys
from collections.abc import Mapping
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_TIMEOUT_S = 3
# What names the HTTP door of those that have one. Those named …-svc have a gRPC door.
_HTTP_LISTEN = {
    "ams-gateway": "GATEWAY_LISTEN",
    "ams-bff": "BFF_LISTEN",
    "registry-svc": "REGISTRY_HTTP_LISTEN",
}


def listen_variable(service: str) -> str:
    """keys-svc → KEYS_LISTEN, ams-gateway → GATEWAY_LISTEN."""
    return f"{service.removeprefix('ams-').removesuffix('-svc').upper()}_LISTEN"


def is_alive(service: str, environ: Mapping[str, str]) -> bool:
    """Whether it answers on this machine, each of its doors within three seconds."""
    page = _HTTP_LISTEN.get(service)
    if page and not _answers(f"http://{_here(environ[page])}/healthz"):
        return False
    return not service.endswith("-svc") or _is_serving(_here(environ[listen_variable(service)]))


def _here(listen: str) -> str:
    return f"127.0.0.1:{listen.rpartition(':')[2]}"


def _answers(url: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _is_serving(address: str) -> bool:
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if is_alive(os.environ["AMS_SERVICE"], os.environ) else 1)
