import math
import sys

from pirate.client import Executor

with Executor(*sys.argv[1:], codec="pickle") as executor:
    print(list(executor.map(math.factorial, range(5))))
