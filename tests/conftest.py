"""Options and fixtures of the whole suite."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--long``: everything, however long it takes."""
    parser.addoption("--long", action="store_true", help="run the long tests too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave long tests out unless ``--long`` was given."""
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="runs with `make test ARGS=--long`")
    for item in items:
        if item.get_closest_marker("long"):  # keywords hold names of directories, too
            item.add_marker(skip)
