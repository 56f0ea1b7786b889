"""Every room's tests share the fixtures on real servers."""

pytest_plugins = ["ams_common.testing.plugin"]
