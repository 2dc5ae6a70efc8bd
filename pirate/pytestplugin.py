"""
For pytest: servers that last as long as a test.

Put ``pytest_plugins = ["pirate.pytestplugin"]`` into the ``conftest.py`` beside your tests' root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pirate.testing.serverprocess import Serving, serving


@pytest.fixture
def pirate_server() -> Iterator[Callable[..., Serving]]:
    """Starts a server, with the arguments of :func:`pirate.testing.serving`; it is stopped when the test ends."""
    with ExitStack() as servers:

        def start(app: str | Callable[..., Any], **settings: Any) -> Serving:
            return servers.enter_context(serving(app, **settings))

        yield start
