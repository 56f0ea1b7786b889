"""Generates the Python code of the protos beside them (`make gen`).

Messages, gRPC stubs and their type stubs come from grpcio-tools and mypy-protobuf; the imports of
google/* are those of the installed googleapis-common-protos.
"""

import sys
from importlib.resources import files
from pathlib import Path

import google.api.annotations_pb2
from grpc_tools import protoc

HERE = Path(__file__).parent


def main(names: list[str]) -> int:
    """Run protoc over `names`, paths relative to protos/. Returns protoc's exit code."""
    google_apis = Path(google.api.annotations_pb2.__file__).parents[2]
    well_known = files("grpc_tools") / "_proto"
    with_services = [name for name in names if name.endswith("_service.proto")]
    common = [f"-I{HERE}", f"-I{google_apis}", f"-I{well_known}"]
    messages = ["protoc", *common, f"--python_out={HERE}", f"--mypy_out={HERE}", *names]
    services = ["protoc", *common, f"--grpc_python_out={HERE}", f"--mypy_grpc_out=only_async:{HERE}", *with_services]
    return protoc.main(messages) or protoc.main(services)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
