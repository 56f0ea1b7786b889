"""Every package's tests share the fixtures on real servers."""

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from ams_local import tools

pytest_plugins = ["ams_common.testing.plugin"]

# Files that take long though their tests are few: begun last, each would keep one worker while others idle.
LONGEST_FIRST = (
    "tests/test_ui_pages.py",
    "deploy/tests/test_install_alone.py",
    "tests/test_exactness.py",
    "tests/test_production.py",
    "tests/test_ui_live.py",
    "bff/tests/test_survive_hostile_input.py",
    "local/tests/test_serve_servers.py",
    "tests/test_registry_protocol.py",
    "tests/test_ui_journey.py",
    "gateway/tests/test_survive_kills.py",
    "gateway/tests/test_end_slow_connections.py",
    "local/tests/test_run_everything.py",
    "identity-svc/tests/test_render_mails.py",
    "tests/test_ui_search.py",
    "tests/test_large_images.py",
    "tests/test_ui_keyboard.py",
    "bff/tests/test_stream_figures.py",
    "local/tests/test_supervise_processes.py",
    "catalog-svc/tests/test_consume_merchants.py",
    "usage-svc/tests/test_survive_crash.py",
    "billing-svc/tests/test_survive_crash.py",
    "common/tests/test_consumer.py",
    "tests/test_ui_calm.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Those first, then the files with most tests; workers take files from the front."""
    files = {item: item.path.relative_to(config.rootpath).as_posix() for item in items}
    ranks = {file: rank for rank, file in enumerate(LONGEST_FIRST)}
    counts = Counter(files.values())
    items.sort(key=lambda item: (ranks.get(files[item], len(ranks)), -counts[files[item]]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """A test whose program isn't installed is skipped, and says how to get it; CI skips nothing."""
    yield from _skipping_what_is_missing()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield from _skipping_what_is_missing()


def _skipping_what_is_missing() -> Iterator[None]:
    try:
        yield
    except tools.ToolMissingError as missing:
        if os.environ.get(tools.REQUIRE_ALL):
            raise
        pytest.skip(str(missing))
