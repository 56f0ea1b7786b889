#!/bin/sh
# redis-py 8.1.0 (PyPI), Python 3.11 or newer.
# Behaviour: a cluster's asyncio pipeline takes eval(), and EVALSHA by execute_command(), both of which name one hash slot
# by their keys; evalsha() of the same script and keys is refused before anything is sent.
# Seen: "eval queued, evalsha RedisClusterException, execute_command queued". No server is needed.
# Fails when that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0
cat > "$work/seen.py" <<'PYTHON'
from redis.asyncio.cluster import ClusterNode, RedisCluster

pipeline = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", 6379)]).pipeline()
sha = "0" * 40


def outcome(queue):
    try:
        queue()
    except Exception as error:
        return type(error).__name__
    return "queued"


print(
    f"eval {outcome(lambda: pipeline.eval('return 1', 1, 'k'))},",
    f"evalsha {outcome(lambda: pipeline.evalsha(sha, 1, 'k'))},",
    f"execute_command {outcome(lambda: pipeline.execute_command('EVALSHA', sha, 1, 'k'))}",
)
PYTHON
seen=$("$work/venv/bin/python" "$work/seen.py")
echo "$seen"
test "$seen" = "eval queued, evalsha RedisClusterException, execute_command queued"
