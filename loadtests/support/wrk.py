"""Closed-loop load by wrk: scripts of requests, and what came of a run."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect, e.read, e.write, e.status, e.timeout))
end
"""
_REPEATED = """
wrk.method = "POST"
wrk.body = string.rep("x", %(body_bytes)d)
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer %(secret)s"
wrk.headers["X-AMS-Service"] = "%(slug)s"
"""
# More than a cache of whole heads would hold, and made before the clock starts: wrk isn't to be measured.
_VARIED = """
local pool, position = {}, 0
local function hex(digits)
  local parts = {}
  for i = 1, digits / 8 do parts[i] = string.format("%%08x", math.random(1, 0xffffffff)) end
  return table.concat(parts)
end
init = function()
  math.randomseed(%(seed)d)
  for i = 1, %(pool)d do
    local headers = {
      ["Content-Type"] = "application/json", ["Authorization"] = "Bearer %(secret)s",
      ["X-AMS-Service"] = "%(slug)s", ["Traceparent"] = "00-" .. hex(32) .. "-" .. hex(16) .. "-01",
    }
    if i %% 2 == 0 then headers["Cookie"] = "session=" .. hex(32)
    else headers["X-Correlation-Id"] = hex(32) end
    pool[i] = wrk.format("POST", nil, headers, string.rep("x", math.random(%(least)d, %(most)d)))
  end
end
request = function()
  position = position %% #pool + 1
  return pool[position]
end
"""
# Each line of the file is a key and the service it calls.
_MANY_KEYS = """
local pool, calls, burst = {}, 0, 1
init = function(arguments)
  calls, burst = tonumber(arguments[1]), tonumber(arguments[2])
  for line in io.lines("%(keys)s") do
    local secret, slug = line:match("^(%%S+) (%%S+)$")
    pool[#pool + 1] = wrk.format("POST", nil,
      { ["Authorization"] = "Bearer " .. secret, ["X-AMS-Service"] = slug }, "{}")
  end
end
request = function()
  local call = pool[math.floor(calls / burst) %% #pool + 1]
  calls = calls + 1
  return call
end
"""
_FAILURES = ("connect", "read", "write", "status", "timeout")


@dataclass(frozen=True)
class Outcome:
    requests: int
    duration_s: float
    p50_ms: float
    p99_ms: float
    # How many of each kind: connect, read, write, status (not 2xx or 3xx), timeout (answered after 2 s).
    failures: dict[str, int]

    @property
    def errors(self) -> int:
        return sum(self.failures.values())

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.duration_s


def repeated_heads(path: Path, secret: str, slug: str, body_bytes: int) -> Path:
    """Every request is the same, as a load generator's are."""
    path.write_text(_REPEATED % {"secret": secret, "slug": slug, "body_bytes": body_bytes} + _DONE)
    return path


def varied_heads(path: Path, secret: str, slug: str, body_bytes: tuple[int, int]) -> Path:
    """Trace id, length, and a cookie or an id of the client's own differ per request, as real clients' do."""
    least, most = body_bytes
    told = {"secret": secret, "slug": slug, "least": least, "most": most, "pool": 30_000, "seed": 1}
    path.write_text(_VARIED % told + _DONE)
    return path


def many_keys(path: Path, calls: list[tuple[str, str]]) -> Path:
    """Requests of each key to the service named with it, over and over."""
    keys = path.with_suffix(".keys")
    keys.write_text("".join(f"{secret} {slug}\n" for secret, slug in calls))
    path.write_text(_MANY_KEYS % {"keys": keys} + _DONE)
    return path


def wrk(
    url: str,
    script: Path,
    seconds: float,
    *,
    connections: int = 64,
    cores: str = "1",
    begin: int = 0,
    burst: int = 1,
) -> Outcome:
    """`begin`, `burst`: with which of its calls a script of many keys begins, for it would be the first ones
    each time; and how many calls of a key come together."""
    command = ["taskset", "-c", cores, "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    command += ["-s", str(script), url, "--", str(begin), str(burst)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = re.search(r"RESULT (.*)", output)
    if result is None:
        sys.exit(f"wrk said\n{output}")
    requests, duration_us, p50_us, p99_us, *failures = map(int, result[1].split())
    return Outcome(
        requests,
        duration_us / 1e6,
        p50_us / 1000,
        p99_us / 1000,
        dict(zip(_FAILURES, failures, strict=True)),
    )
