"""`ams-gateway`: settings from the environment, then one worker here, or several under a supervisor."""

from functools import partial

from ams_common.process import settings_or_exit
from ams_common.settings import load

from ams_gateway import worker
from ams_gateway.settings import Settings
from ams_gateway.supervisor import Supervisor, listen


def main() -> None:
    # Each worker answers operators itself: it knows whether it is ready.
    settings = settings_or_exit("gateway", partial(load, Settings, "GATEWAY"), serves_metrics=False)
    if settings.workers > 1:
        Supervisor(settings).run()
    else:
        operators = listen(settings.metrics_listen) if settings.metrics_listen else None
        worker.run(settings, listen(settings.listen), operators)


if __name__ == "__main__":
    main()
