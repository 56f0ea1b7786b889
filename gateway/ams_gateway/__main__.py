"""`ams-gateway`: settings from the environment, then uvicorn with one or several workers."""

import sys

import uvicorn
from ams_common.errors import SettingsError
from ams_common.logs import configure_logs
from ams_common.settings import load

from ams_gateway.settings import Settings


def main() -> None:
    try:
        settings = load(Settings, "GATEWAY")
    except SettingsError as error:
        sys.exit("gateway: " + "\n".join(error.problems))
    configure_logs("gateway", settings.log_level)
    uvicorn.run(
        "ams_gateway.app:create",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http="ams_gateway.protocol:GatewayProtocol",
        ws="none",
        lifespan="on",
        # The upstream's own Date and Server pass; ours would stand beside them.
        date_header=False,
        server_header=False,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        timeout_graceful_shutdown=int(settings.drain_s),
        timeout_keep_alive=75,
        backlog=4096,
    )


if __name__ == "__main__":
    main()
