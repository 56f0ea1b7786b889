"""`ams-gateway`: settings from the environment, then uvicorn with one or several workers."""

from functools import partial

import uvicorn
from ams_common.process import end_when_told, settings_or_exit
from ams_common.settings import load, parse_listen

from ams_gateway.app import server_options
from ams_gateway.settings import Settings


def main() -> None:
    settings = settings_or_exit("gateway", partial(load, Settings, "GATEWAY"))
    end_when_told()
    host, port = parse_listen(settings.listen)
    uvicorn.run(
        "ams_gateway.app:create",
        factory=True,
        host=host,
        port=port,
        workers=settings.workers,
        loop="uvloop",
        backlog=4096,
        **server_options(settings),
    )


if __name__ == "__main__":
    main()
