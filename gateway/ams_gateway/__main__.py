"""`ams-gateway`: settings from the environment, then uvicorn with one or several workers."""

from functools import partial

import uvicorn
from ams_common.process import end_when_told, settings_or_exit
from ams_common.settings import load

from ams_gateway.app import choose_protocol
from ams_gateway.settings import Settings


def main() -> None:
    settings = settings_or_exit("gateway", partial(load, Settings, "GATEWAY"))
    end_when_told()
    host, _, port = settings.listen.rpartition(":")
    uvicorn.run(
        "ams_gateway.app:create",
        factory=True,
        host=host.strip("[]"),
        port=int(port),
        workers=settings.workers,
        loop="uvloop",
        http=choose_protocol(settings),
        ws="none",
        lifespan="on",
        # The upstream's own Date and Server pass; ours would stand beside them.
        date_header=False,
        server_header=False,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        timeout_graceful_shutdown=int(settings.drain_s),
        backlog=4096,
    )


if __name__ == "__main__":
    main()
