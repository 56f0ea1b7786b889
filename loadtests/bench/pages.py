"""How fast the pages are, with the demo data's data: `make bench-pages`.

Server time to the last byte over many requests one after the other, on a connection that stays; and the
largest contentful paint in Chromium with the CPU slowed four times, with an empty cache.
"""

import http.client
import os
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from support.page_list import PAGES, Page
from support.page_tour import PageTour, open_page_tour

_REQUESTS = 100
_WARM_UP = 5
_PAINTS = 3
_SLOWER = 4
_SERVER_P95_MS = 50.0
_PAINT_MS = 1000.0
_PAINTED = """() => new Promise((resolve) => {
  const seen = new PerformanceObserver((list) => resolve(list.getEntries().at(-1).startTime));
  seen.observe({ type: "largest-contentful-paint", buffered: true });
})"""


def server_times_ms(tour: PageTour, page: Page) -> list[float]:
    """Measures a page from the request to the last byte, many times, in milliseconds."""
    address = urlsplit(tour.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    headers = {"Accept": "text/html", "Cookie": f"ams_session={tour.sessions.get(page.person, '')}"}
    times_ms = []
    for _ in range(_WARM_UP + _REQUESTS):
        began_s = time.perf_counter()
        connection.request("GET", tour.demo_data.path(page.path), headers=headers)
        answer = connection.getresponse()
        answer.read()
        times_ms.append((time.perf_counter() - began_s) * 1000)
        if answer.status != page.status:
            raise SystemExit(f"{page.path} answered {answer.status}")
    connection.close()
    return times_ms[_WARM_UP:]


def paint_ms(tour: PageTour, page: Page) -> float:
    """The median of a few first visits."""
    times_ms = []
    for _ in range(_PAINTS):
        with tour.enter(page.person, viewport={"width": 1440, "height": 900}) as context:
            tab = context.new_page()
            context.new_cdp_session(tab).send("Emulation.setCPUThrottlingRate", {"rate": _SLOWER})
            tab.goto(tour.demo_data.path(page.path))
            times_ms.append(float(tab.evaluate(_PAINTED)))
    return statistics.median(times_ms)


def measure(tour: PageTour) -> bool:
    """Prints a line for each page. Whether all are within their bounds."""
    slow = 0
    print(f"{'page':28}{'server p50':>12}{'p95':>8}{'paint':>9}   ms, CPU slowed {_SLOWER} times for paint")
    for page in PAGES:
        if page.act or page.status >= 500:
            continue
        times_ms = server_times_ms(tour, page)
        p50_ms, p95_ms = statistics.median(times_ms), statistics.quantiles(times_ms, n=20)[-1]
        painted_ms = paint_ms(tour, page)
        is_slow = p95_ms > _SERVER_P95_MS or painted_ms > _PAINT_MS
        slow += is_slow
        mark = "   over the bound" if is_slow else ""
        print(f"{page.name:28}{p50_ms:12.1f}{p95_ms:8.1f}{painted_ms:9.0f}{mark}", flush=True)
    print(f"bounds: server p95 {_SERVER_P95_MS:.0f} ms, paint {_PAINT_MS:.0f} ms; {slow} pages over them")
    return not slow


def main() -> None:
    """Measures on the servers that the environment names."""
    database, redis, kafka = (
        os.environ[name] for name in ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS")
    )
    with (
        tempfile.TemporaryDirectory() as directory,
        open_page_tour(database, redis, kafka, Path(directory)) as tour,
    ):
        is_fast = measure(tour)
    raise SystemExit(not is_fast)


if __name__ == "__main__":
    main()
