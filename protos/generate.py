"""Generates the Python code of the protos (`make gen`), and one descriptor set that keeps their comments.

Messages, gRPC stubs and their type stubs come from grpcio-tools and mypy-protobuf; the imports of
google/* are those of the installed googleapis-common-protos.
"""

import os
import sys
from importlib.resources import files
from pathlib import Path

import google.api.annotations_pb2
from grpc_tools import protoc

HERE = Path(__file__).parent
# What the OpenAPI document takes its descriptions from.
DESCRIPTORS = "ams/descriptors.binpb"


def main(output: Path) -> int:
    """Run protoc over all protos, into `output`. Returns protoc's exit code."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # its plugins
    google_apis = Path(google.api.annotations_pb2.__file__).parents[2]
    protos = sorted(str(path.relative_to(HERE)) for path in (HERE / "ams").rglob("*.proto"))
    services = [name for name in protos if name.endswith("_service.proto")]
    common = ["protoc", f"-I{HERE}", f"-I{google_apis}", f"-I{files('grpc_tools') / '_proto'}"]
    messages = [f"--python_out={output}", f"--mypy_out=quiet:{output}", *protos]
    stubs = [f"--grpc_python_out={output}", f"--mypy_grpc_out=only_async,quiet:{output}", *services]
    (output / DESCRIPTORS).parent.mkdir(parents=True, exist_ok=True)
    descriptors = ["--include_source_info", f"--descriptor_set_out={output / DESCRIPTORS}", *protos]
    return int(
        protoc.main(common + messages) or protoc.main(common + stubs) or protoc.main(common + descriptors)
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
