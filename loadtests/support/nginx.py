"""nginx as the upstream, as a plain reverse proxy, and as a gateway with AMS's policy written in Lua."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ams_common.ports import free_port

from loadtests.support.processes import Program, running

_FRAME = """
{modules}
master_process off; daemon off; worker_processes 1; error_log {home}/error.log crit; pid {home}/nginx.pid;
worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300;
  client_body_temp_path {home}/1; proxy_temp_path {home}/2; fastcgi_temp_path {home}/3;
  uwsgi_temp_path {home}/4; scgi_temp_path {home}/5;
  {http}
  server {{ listen 127.0.0.1:{port} backlog=4096; {server} }}
}}
"""
_UPSTREAM = "upstream api {{ server 127.0.0.1:{port}; keepalive 256; keepalive_requests 1000000000; }}"
_PROXY = 'location / { proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ""; }'

_LUA_MODULES = """
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
"""
# What the gateway does of a request, and no more: the key is looked up, its grant and expiry are checked, a
# sliding window counts, headers of the client that aren't for the merchant go, and a line meters the call.
_LUA_HTTP = """
  lua_shared_dict keys 16m; lua_shared_dict services 16m; lua_shared_dict windows 16m;
  log_format metering '$msec $request_id $consumer $key_id $service_id $merchant_id $status '
                      '$request_length $bytes_sent $request_time $upstream_status';
  init_by_lua_block {{
    ngx.shared.keys:set("{secret}", "consumer-1 key-1 4102444800 service-1,service-2,service-3")
    ngx.shared.services:set("{slug}", "service-1 merchant-1 {limit}")
  }}
"""
_LUA_SERVER = """
  access_log {home}/metering.log metering buffer=64k flush=1s;
  location / {
    set $consumer "-"; set $key_id "-"; set $service_id "-"; set $merchant_id "-";
    access_by_lua_block {
      local headers = ngx.req.get_headers()
      local bearer, name = headers["authorization"], headers["x-ams-service"]
      if not bearer or not name then return ngx.exit(401) end
      local key = ngx.shared.keys:get(bearer:sub(8))
      if not key then return ngx.exit(401) end
      local consumer, key_id, expires, granted = key:match("^(%S+) (%S+) (%d+) (%S+)$")
      local now = ngx.now()
      if tonumber(expires) < now then return ngx.exit(403) end
      local service = ngx.shared.services:get(name:lower())
      if not service then return ngx.exit(403) end
      local service_id, merchant_id, limit = service:match("^(%S+) (%S+) (%d+)$")
      if not ("," .. granted .. ","):find("," .. service_id .. ",", 1, true) then return ngx.exit(403) end
      local windows, minute = ngx.shared.windows, math.floor(now / 60)
      local window = consumer .. ":" .. service_id .. ":"
      local count = windows:incr(window .. minute, 1, 0, 120)
      local before = windows:get(window .. (minute - 1)) or 0
      local used, most = count + before * (1 - now / 60 % 1), tonumber(limit)
      if used > most then return ngx.exit(429) end
      ngx.header["RateLimit-Policy"] = '"default";q=' .. limit .. ";w=60"
      ngx.header["RateLimit"] = string.format('"default";r=%d;t=%d', most - used, 60 - now % 60)
      ngx.header["X-Request-Id"] = ngx.var.request_id
      ngx.req.clear_header("authorization")
      ngx.req.clear_header("x-ams-service")
      ngx.var.consumer, ngx.var.key_id = consumer, key_id
      ngx.var.service_id, ngx.var.merchant_id = service_id, merchant_id
    }
    proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_set_header X-Request-Id $request_id; proxy_set_header Via "1.1 nginx";
  }
"""


@contextlib.contextmanager
def _nginx(home: Path, cores: str, server: str, http: str = "", modules: str = "") -> Iterator[Program]:
    home.mkdir()
    port = free_port()
    configuration = home / "nginx.conf"
    configuration.write_text(
        _FRAME.format(
            home=home, port=port, server=server.replace("{home}", str(home)), http=http, modules=modules
        )
    )
    with running(["nginx", "-c", str(configuration), "-p", str(home)], port, cores=cores) as program:
        yield program


def upstream(home: Path, cores: str, answer_bytes: int) -> contextlib.AbstractContextManager[Program]:
    """A merchant's API that answers as fast as it can."""
    text = "x" * answer_bytes
    return _nginx(home, cores, f'default_type application/json; location / {{ return 200 "{text}"; }}')


def plain_proxy(home: Path, cores: str, to: Program) -> contextlib.AbstractContextManager[Program]:
    return _nginx(home, cores, _PROXY, _UPSTREAM.format(port=to.port))


def lua_gateway(
    home: Path, cores: str, to: Program, *, secret: str, slug: str, limit: int
) -> contextlib.AbstractContextManager[Program]:
    """The key `secret` may call the service `slug`, `limit` times a minute."""
    http = _UPSTREAM.format(port=to.port) + _LUA_HTTP.format(secret=secret, slug=slug, limit=limit)
    return _nginx(home, cores, _LUA_SERVER, http, _LUA_MODULES)
