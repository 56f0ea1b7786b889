"""A layer of 500 MB goes in and out, and registry-svc stays small."""

import secrets
from collections.abc import Iterator
from pathlib import Path

from ams_local.rest import People
from support import docker_images
from support.docker_images import Layout
from support.image_trade import open_image_trade
from support.running_system import ADMIN_EMAIL, RunningSystem

LAYER_MB = 500
MAX_RSS_MB = 150


def noise() -> Iterator[bytes]:
    """What doesn't compress, a megabyte at a time, quickly."""
    block = secrets.token_bytes(2**20)
    for number in range(LAYER_MB):
        yield number.to_bytes(4, "big") + block[4:]


def peak_rss_mb(process_id: int) -> float:
    """The most memory that the process ever held."""
    status = Path(f"/proc/{process_id}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


async def test_a_layer_of_500_mb_passes_through_with_flat_memory(
    system: RunningSystem, people: People, tmp_path: Path
) -> None:
    trade = await open_image_trade(people, ADMIN_EMAIL, secrets.token_hex(3))
    image = Layout(tmp_path / "image", noise())
    pushed = await docker_images.push(image, trade.image("1.0.0"), trade.publishing.secret)
    assert pushed.succeeded, pushed.text
    pulled = await docker_images.pull(trade.image("1.0.0"), trade.secret, tmp_path / "pulled")
    assert pulled.succeeded, pulled.text
    layer = tmp_path / "pulled" / "blobs" / "sha256" / image.layer.digest.removeprefix("sha256:")
    assert layer.stat().st_size == LAYER_MB * 2**20
    rss_mb = peak_rss_mb(system.process_id("registry-svc"))
    assert rss_mb < MAX_RSS_MB, f"{rss_mb:.0f} MB"
