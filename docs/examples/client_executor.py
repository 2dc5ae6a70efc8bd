import sys

from pirate.client import Executor

with Executor(*sys.argv[1:]) as executor:  # without arguments: tcp://127.0.0.1:6660
    print(executor.submit(b"Ahoy!").result(timeout=5))
