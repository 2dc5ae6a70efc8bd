"""The app: tasks are functions, and a request names one of them."""

import json
from collections.abc import Callable
from typing import Any


def add(x: int, y: int) -> int:
    return x + y


def greet(name: str) -> str:
    return f"Hello, {name}!"


TASKS: dict[str, Callable[..., Any]] = {"add": add, "greet": greet}


def run(name: bytes, arguments: bytes) -> str:
    """Two frames in JSON: the name, and a list of arguments.  The reply is JSON too."""
    task = TASKS.get(json.loads(name))
    if task is None:
        raise LookupError(f"there is no task {json.loads(name)!r}")
    return json.dumps(task(*json.loads(arguments)))
