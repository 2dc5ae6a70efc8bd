"""
The invariants: what must hold in every world, whatever happens in it.

Each is a class with a number and a statement.  It watches the journal from the beginning, looks at the world while time
passes and when it has come to rest, and once more when everything has been stopped.

==============  ========================================================================================================
``base``        what all of them use
``calls``       what clients see
``executions``  what workers execute, and how often
``requests``    what the broker keeps of requests
``queues``      who is served next, and what waits
``pools``       how many workers there are, and how they come and go
``logs``        what is logged and counted
``ends``        what is left when a server stops
``checks``      checks of plain numbers, which trials of real servers use as well
``register``    all of them by number, and what cannot be checked yet
==============  ========================================================================================================
"""
