"""
A world in one process, from one seed: servers, workers, clients and the network between them, without real time.

Simulated are the network, the processes and the clock.  Real are the broker, the pool, the supervisor, the worker that
runs the app, the client's session with its attempts and its fail-over, and all bytes on the wire.

==============  ========================================================================================================
``choices``     the only source of randomness
``agenda``      the only clock: what is due next, in all actors
``journal``     every event, from which the hash, the story and the invariants come
``plan``        what happens in a world: its settings, calls and faults, chosen by the seed, and short enough to be read
``network``     links with queues, delays and ends; the sockets at both of their ends are in ``sockets`` and ``router``
``transport``   the server's transport on that network
``processes``   worker processes, and ``apps``, what they run
``clients``     native, plain, flooding and malicious clients
``faults``      what goes wrong
``invariants``  what must hold nevertheless
``run``         runs a plan, and says whether it held
``shrink``      takes out of a plan that fails what the failure does not need
``story``       tells what happens, in sentences
==============  ========================================================================================================

One event happens after another, and an actor sees the others only through the network and the signals of processes.
Nothing may ask the real clock, the operating system, or the order of a set of bytes: the same seed gives the same
journal, in any process.
"""
