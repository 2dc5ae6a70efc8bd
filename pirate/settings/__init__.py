"""
The settings of a server: one table, checked on construction.

:class:`Settings` holds everything; :class:`PoolLimits`, :class:`RequestPolicy` and :class:`PeerLimits` are its parts.
    The command
line, the checks, the changes at run time and the reference page are all made from the fields of these classes.
"""

from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.settings.settings import Settings

__all__ = ["PeerLimits", "PoolLimits", "RequestPolicy", "Settings"]
