"""The app: tasks are functions, and a request names one of them."""

import json


def add(x, y):
    return x + y


def greet(name):
    return f"Hello, {name}!"


TASKS = {"add": add, "greet": greet}


def run(name, arguments):
    """Two frames in JSON: the name, and a list of arguments.  The reply is JSON too."""
    name = json.loads(name)
    if name not in TASKS:
        raise LookupError(f"there is no task {name!r}")
    return json.dumps(TASKS[name](*json.loads(arguments)))
