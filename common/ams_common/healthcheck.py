"""`python -m ams_common.healthcheck`: whether the process of this container is alive; the exit code says.

AMS_SERVICE names the process. Its addresses are those that it listens on, by its own settings.
"""

import os
import sys
from collections.abc import Mapping
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ams_common.processes import PROCESSES, Process

_TIMEOUT_S = 3


def is_alive(process: Process, environ: Mapping[str, str]) -> bool:
    """Whether it answers on this machine, by HTTP and by gRPC as far as it serves them, each within three
    seconds."""
    if process.http_port and not answers(f"http://{_here(environ[process.health_variable])}/healthz"):
        return False
    return not process.grpc_port or is_serving(_here(environ[process.variable("LISTEN")]))


def _here(listen: str) -> str:
    return f"127.0.0.1:{listen.rpartition(':')[2]}"


def answers(url: str) -> bool:
    """Whether the address of a page on this machine answers 200."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def is_serving(address: str) -> bool:
    """Whether the gRPC server at "host:port" says that it serves."""
    with grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if is_alive(PROCESSES[os.environ["AMS_SERVICE"]], os.environ) else 1)
