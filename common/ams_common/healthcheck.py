"""`python -m ams_common.healthcheck`: whether the service of this container is alive; the exit code says.

AMS_SERVICE names the service. Its address is the one that it listens on, by its own settings.
"""

import os
import sys
from collections.abc import Mapping
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_TIMEOUT_S = 3
# Those that speak HTTP; the others speak gRPC.
_PAGES = {"ams-gateway": "/healthz", "ams-bff": "/healthz"}


def listen_variable(service: str) -> str:
    """keys-svc → KEYS_LISTEN, ams-gateway → GATEWAY_LISTEN."""
    return f"{service.removeprefix('ams-').removesuffix('-svc').upper()}_LISTEN"


def is_alive(service: str, environ: Mapping[str, str]) -> bool:
    """Whether it answers on this machine within three seconds."""
    port = environ[listen_variable(service)].rpartition(":")[2]
    address = f"127.0.0.1:{port}"
    page = _PAGES.get(service)
    return _answers(f"http://{address}{page}") if page else _is_serving(address)


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
