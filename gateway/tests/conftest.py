"""Fixtures of the gateway's tests: a whole gateway in the test's own loop, served by uvicorn."""
