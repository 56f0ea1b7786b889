#!/bin/sh
# jgo 3.2.0 (PyPI), its resolver in Python, with jars of Maven Central; Python 3.11 or newer.
# Behaviour: asked for two artifacts together, it chooses versions by what the parent of one of them manages for itself:
# beside log4j-slf4j-impl 2.24.3, kafka_2.13 4.1.1 gets the kafka-clients of another release. Maven takes what kafka_2.13
# names (kafka-clients 4.1.1, jackson-databind 2.19.0): the management of a dependency isn't that of its users.
# Seen: "alone: jackson-databind 2.19.0, kafka-clients 4.1.1", "together: jackson-databind 2.17.2, kafka-clients 3.8.0".
# Fails when that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check jgo==3.2.0
cat > "$work/seen.py" <<'PYTHON'
import sys
from pathlib import Path

from jgo.maven import Dependency, MavenContext, PythonResolver

KAFKA = ("org.apache.kafka", "kafka_2.13", "4.1.1")
LOG4J = ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3")


def versions(*wanted):
    maven = MavenContext(PythonResolver(), repo_cache=Path(sys.argv[1]))
    artifacts = [maven.project(group, name).at_version(version).artifact() for group, name, version in wanted]
    roots = [Dependency(artifact) for artifact in artifacts]
    found = {node.dep.artifactId: node.dep.version for node in maven.resolver.get_dependency_list(roots)[1]}
    return ", ".join(f"{name} {found[name]}" for name in ("jackson-databind", "kafka-clients"))


print(f"alone: {versions(KAFKA)}")
print(f"together: {versions(KAFKA, LOG4J)}")
PYTHON
seen=$("$work/venv/bin/python" "$work/seen.py" "$work/cache")
echo "$seen"
test "$seen" = "alone: jackson-databind 2.19.0, kafka-clients 4.1.1
together: jackson-databind 2.17.2, kafka-clients 3.8.0"
