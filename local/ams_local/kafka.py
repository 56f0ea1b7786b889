"""One Apache Kafka node in KRaft mode, on the Java of a wheel."""

import asyncio
import shutil
import signal
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaError
from ams_common import ports

from ams_local import kafka_jars, paths, tools
from ams_local.daemons import Daemon, StartError

# A short life, or a small one: the serial collector and the first compiler start fastest.
JVM = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto"]


class Kafka:
    def __init__(self, directory: Path, port: int, controller_port: int, *, throwaway: bool) -> None:
        self.port = port
        self.throwaway = throwaway
        self.log = directory / "kafka.log"
        self.home = directory / "kafka"
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self._controller_port = controller_port
        self._daemon: Daemon | None = None

    def launch(self) -> None:
        """Fetches the jars the first time, formats the storage if there is none, and starts the broker."""
        java = tools.java()
        libraries = kafka_jars.fetch(paths.run_directory() / "kafka")
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        properties = self.home / "server.properties"
        properties.write_text(self._properties())
        command = [java, *JVM, f"-Dlog4j2.configurationFile={kafka_jars.DEFINITION / 'log4j2.properties'}"]
        command += ["-cp", f"{libraries}/*"]
        if not (self.home / "data" / "meta.properties").exists():
            _format_storage(command, properties, self.home / "data")
        command += ["kafka.Kafka", str(properties)]
        self._daemon = Daemon("Kafka", command, log=self.log, directory=self.home)

    def wait(self) -> str:
        """The bootstrap address, once the broker hands out metadata."""
        assert self._daemon is not None
        self._daemon.wait_until(self._is_ready, timeout_s=90)
        return self.bootstrap_servers

    def _is_ready(self) -> bool:
        return ports.is_listening(self.port) and asyncio.run(_answers(self.bootstrap_servers))

    def stop(self) -> None:
        if self._daemon:
            # A clean shutdown takes seconds, and writes what nobody will read when the data is thrown away.
            self._daemon.stop(signal.SIGKILL if self.throwaway else signal.SIGTERM)

    def _properties(self) -> str:
        listeners = f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": listeners,
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": self.home / "data",
            "auto.create.topics.enable": "true",
            "num.partitions": 4,
            "default.replication.factor": 1,
            "min.insync.replicas": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "num.network.threads": 2,
            "num.io.threads": 2,
            # The default of 128 MB would not fit the heap.
            "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())


def _format_storage(command: list[str], properties: Path, data: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    arguments = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", f"--config={properties}"]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise StartError(f"Kafka could not format its storage:\n{result.stdout}{result.stderr}")


async def _answers(bootstrap_servers: str) -> bool:
    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=5000)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()
