"""
Trials of a server that runs: each case does its worst, and gives a verdict.

``account`` and the modules beside it are the cases of ``benchmarks/chaos.py`` and ``benchmarks/fuzz.py``; ``case``
says what a case is, ``served`` starts the servers, and ``neighbour`` the client that must not notice anything.
"""
