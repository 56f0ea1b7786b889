"""Which fields stop at the gateway, for what their names say: those of a request that would reach the
merchant, and those of an answer that would reach the consumer.

A request's field goes no further when its name, read as carelessly as any server reads it, is

- one by which proxies in front of a server tell it whom they serve, where, with which method, or whom they
  have authenticated (`X-Forwarded-For`, `Forwarded`, `X-Original-URL`, `Client-Cert`, `X-Remote-User`, …):
  the merchant would believe the consumer's word for it, or learn the consumer's address;
- one that tells the merchant who the consumer is: `From`, `Baggage` and `tracestate`, and `Referer` and
  `Origin`, which name the consumer's own site. The gateway answers browsers itself, so that an upstream has
  no use for `Origin`, `Sec-Fetch-*` and `Access-Control-Request-*`; without them a check against request
  forgery sees what it sees of any client that is no browser;
- one that the gateway speaks by: `Signature`, `Signature-Input`, `X-AMS-*`;
- a look-alike of one that the gateway reads or writes. CGI, WSGI and PHP make one variable of
  `Content-Length` and `content_length`, so the second would undo what was checked in the first.

`User-Agent` goes on: it names software, and APIs decide by it.

An answer's field stops when it speaks for the whole origin that the browser sees, which is AMS's and not this
merchant's (`Strict-Transport-Security`, `Clear-Site-Data`, `Alt-Svc`, …), or when only the gateway may say it
(`Access-Control-*`, `X-AMS-*`).
"""

from functools import lru_cache

# Any character but letters and digits becomes a hyphen, as CGI's variables make an underscore of it.
_CARELESS = bytes(
    byte if chr(byte).isascii() and chr(byte).isalnum() else ord("-") for byte in bytes(range(256)).lower()
)

_DROPPED_PREFIXES = (
    b"x-forwarded",
    b"x-original-",
    b"x-envoy-",
    b"x-azure-",
    b"x-appengine-",
    b"x-vercel-",
    b"x-ssl-",
    b"x-client-cert",
    b"client-cert",
    b"ssl-client-",
    b"cf-connecting-",
    b"cf-client-cert",
    b"cloudfront-viewer-",
    # Files that a server behind nginx is told to leave to it.
    b"x-accel-",
    # Identities that load balancers and authenticating proxies vouch for.
    b"cf-access-authenticated-",
    b"cf-access-jwt-",
    b"x-amzn-oidc-",
    b"x-amzn-mtls-",
    b"x-goog-authenticated-user-",
    b"x-goog-iap-",
    b"x-ms-client-principal",
    b"x-auth-request-",
    b"x-ams-",
    b"sec-fetch-",
    b"access-control-request-",
)
_DROPPED = frozenset(
    (
        # The client's address
        b"forwarded",
        b"forwarded-for",
        b"x-real-ip",
        b"x-client-ip",
        b"client-ip",
        b"x-cluster-client-ip",
        b"x-originating-ip",
        b"x-remote-ip",
        b"x-remote-addr",
        b"true-client-ip",
        b"proxy-client-ip",
        b"wl-proxy-client-ip",
        b"fastly-client-ip",
        b"fly-client-ip",
        b"do-connecting-ip",
        b"x-nf-client-connection-ip",
        b"remote-addr",
        # The resource, its scheme and the method. The gateway forwards every method that consumers have a use
        # for, and repeats a call on a fresh connection by the method that it sees.
        b"x-rewrite-url",
        b"script-name",
        b"path-info",
        b"x-script-name",
        b"x-scheme",
        b"x-url-scheme",
        b"front-end-https",
        b"x-sendfile-type",
        b"x-host",
        b"x-http-host-override",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        # CGI scripts take it for HTTP_PROXY, the proxy of their own requests ("httpoxy").
        b"proxy",
        # Who was authenticated
        b"remote-user",
        b"x-remote-user",
        b"x-authenticated-user",
        b"x-webauth-user",
        # Who the consumer is
        b"from",
        b"referer",
        b"origin",
        # Tracing's user-defined properties, and what the sender's tracing systems tell each other (whose
        # tenant it is, often), are for its own; `traceparent` says enough to a stranger's.
        b"baggage",
        b"tracestate",
        b"newrelic",
        # What the gateway proves by
        b"signature",
        b"signature-input",
    )
)
# Read, written anew or dropped by the gateway: only the name itself may say it, no look-alike.
_RESERVED = frozenset(
    (
        b"host",
        b"authorization",
        b"x-api-key",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"upgrade",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"expect",
        b"via",
        b"cookie",
        b"x-request-id",
        b"traceparent",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
    )
)

_DROPPED_FROM_ANSWER_PREFIXES = (b"access-control-", b"x-ams-")
_DROPPED_FROM_ANSWER = frozenset(
    (
        # Browsers apply these to everything that is served by AMS's host, other merchants' APIs and the web
        # UI with it: its transport, its storage, its process, where its failures are reported to.
        b"strict-transport-security",
        b"public-key-pins",
        b"public-key-pins-report-only",
        b"expect-ct",
        b"alt-svc",
        b"clear-site-data",
        b"service-worker-allowed",
        b"origin-agent-cluster",
        b"nel",
        b"report-to",
        b"reporting-endpoints",
        b"accept-ch",
        b"critical-ch",
        b"set-login",
        # Obsolete, and outside the rules for cookies and redirects.
        b"set-cookie2",
        b"refresh",
        # A proxy in front of the gateway would serve a file or another page of AMS's instead of the answer.
        # (X-Accel-Buffering may pass: event streams ask by it not to be held up.)
        b"x-accel-redirect",
        b"x-accel-expires",
        b"x-accel-charset",
        b"x-accel-limit-rate",
        b"x-sendfile",
        b"x-lighttpd-send-file",
        b"x-reproxy-url",
    )
)


def careless(name: bytes) -> bytes:
    """The name as servers that confuse most see it. Two names with the same careless form may be one variable
    to an upstream: compare by it what must not be said twice, as a service's own credential."""
    return name.translate(_CARELESS)


# Bounded in bytes too: 512 names, each shorter than the cap on a head (32 KiB unless set otherwise).
@lru_cache(maxsize=512)
def is_dropped(name: bytes) -> bool:
    """Whether a request's field of this name stops here, whatever its value."""
    form = careless(name)
    return (
        form in _DROPPED
        or form.startswith(_DROPPED_PREFIXES)
        # `name` may be in capitals: only another character makes a look-alike.
        or (form in _RESERVED and form != name.lower())
    )


@lru_cache(maxsize=512)
def is_dropped_from_answer(name: bytes) -> bool:
    """Whether an answer's field of this name stops here, whatever its value."""
    name = name.lower()
    return name in _DROPPED_FROM_ANSWER or name.startswith(_DROPPED_FROM_ANSWER_PREFIXES)
