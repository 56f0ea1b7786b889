"""Images on disk, and skopeo and podman to push and pull them as docker would."""

import asyncio
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ams_local import tools

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
_TIMEOUT_S = 100


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Part:
    """What a manifest names: a layer or a configuration."""

    digest: str
    size: int


class Layout:
    """An OCI image layout (image-spec 1.1) with one image of one layer."""

    def __init__(self, directory: Path, layer: Iterator[bytes], **manifest: Any) -> None:
        """`layer`: its content, in chunks. `manifest`: what else stands in the manifest."""
        self.directory = directory
        (directory / "blobs" / "sha256").mkdir(parents=True)
        self.layer = self._add(layer)
        rootfs = {"type": "layers", "diff_ids": [self.layer.digest]}
        config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
        self.config = self._add(iter([json.dumps(config).encode()]))
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": _descriptor(CONFIG, self.config),
                "layers": [_descriptor(LAYER, self.layer)],
                **manifest,
            }
        ).encode()
        self.digest = self._add(iter([self.manifest])).digest
        index = {
            "schemaVersion": 2,
            "manifests": [_descriptor(MANIFEST, Part(self.digest, len(self.manifest)))],
        }
        (directory / "index.json").write_text(json.dumps(index))
        (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, part: Part) -> Path:
        return self.directory / "blobs" / "sha256" / part.digest.removeprefix("sha256:")

    def _add(self, chunks: Iterator[bytes]) -> Part:
        unfinished, hashed, size = self.directory / "unfinished", hashlib.sha256(), 0
        with unfinished.open("wb") as file:
            for chunk in chunks:
                hashed.update(chunk)
                size += file.write(chunk)
        part = Part(f"sha256:{hashed.hexdigest()}", size)
        unfinished.rename(self.blob(part))
        return part


def _descriptor(media_type: str, part: Part) -> Mapping[str, Any]:
    return {"mediaType": media_type, "digest": part.digest, "size": part.size}


@dataclass(frozen=True, slots=True)
class Done:
    """What the program said, and whether it succeeded."""

    succeeded: bool
    text: str


async def skopeo(*words: str) -> Done:
    """Runs skopeo; its insecure policy is about signatures only."""
    return await _run("skopeo", "--insecure-policy", *words)


async def _run(program: str, *words: str) -> Done:
    process = await asyncio.create_subprocess_exec(
        tools.find(program), *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(_TIMEOUT_S):
        output, _ = await process.communicate()
    # Their logs quote what the registry says.
    return Done(process.returncode == 0, output.decode().replace('\\"', '"'))


class Podman:
    """podman, as somebody who has just installed it: with no image, and signed in nowhere."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._secrets = directory / "auth.json"
        directory.mkdir()

    async def __call__(self, *words: str) -> Done:
        """One command, such as "images"."""
        storage = ["--root", str(self._directory / "root"), "--runroot", str(self._directory / "run")]
        return await _run("podman", "--storage-driver", "vfs", *storage, *words)

    async def make(self, image: str, content: bytes) -> Done:
        """An image of one file."""
        archive = self._directory / "files.tar"
        with tarfile.open(archive, "w") as files:
            file = tarfile.TarInfo("content")
            file.size = len(content)
            files.addfile(file, io.BytesIO(content))
        return await self("import", str(archive), image)

    async def log_in(self, host: str, secret: str) -> Done:
        words = ["--authfile", str(self._secrets), "--username", "ams", "--password", secret]
        return await self("login", "--tls-verify=false", *words, host)

    async def push(self, image: str, form: str) -> Done:
        """`form`: "oci", or "v2s2" for docker's own."""
        words = ["--tls-verify=false", "--authfile", str(self._secrets), "--format", form]
        return await self("push", *words, image)

    async def pull(self, image: str) -> Done:
        return await self("pull", "--tls-verify=false", "--authfile", str(self._secrets), image)


async def log_in(host: str, secret: str, file: Path) -> Done:
    """As `docker login` does."""
    words = ["--tls-verify=false", "--authfile", str(file), "--username", "ams", "--password", secret]
    return await skopeo("login", *words, host)


async def push(layout: Layout, image: str, secret: str) -> Done:
    """`image`: "host:port/name:tag"."""
    words = ["--preserve-digests", "--dest-tls-verify=false", "--dest-creds", f"push:{secret}"]
    return await skopeo("copy", *words, f"oci:{layout.directory}", f"docker://{image}")


async def pull(image: str, secret: str, directory: Path) -> Done:
    """Into an OCI layout in `directory`; `secret` "" is nobody."""
    words = ["--preserve-digests", "--src-tls-verify=false"]
    words += ["--src-creds", f"ams:{secret}"] if secret else ["--src-no-creds"]
    return await skopeo("copy", *words, f"docker://{image}", f"oci:{directory}:pulled")
