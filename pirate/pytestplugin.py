"""
A pytest fixture that starts servers for a test.

Put ``pytest_plugins = ["pirate.pytestplugin"]`` into the ``conftest.py`` at the root of your tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pirate.testing.serverprocess import ServerProcess, serving


@pytest.fixture
def pirate_server() -> Iterator[Callable[..., ServerProcess]]:
    """Return a function that starts a server, with the arguments of :func:`pirate.testing.serving`, for the test."""
    with ExitStack() as servers:

        def start(app: str | Callable[..., Any], **settings: Any) -> ServerProcess:
            return servers.enter_context(serving(app, **settings))

        yield start
