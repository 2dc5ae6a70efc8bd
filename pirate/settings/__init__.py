"""
The settings of a server: one table of them, whose values are checked when a :class:`Settings` is made.

:class:`Settings` holds everything; :class:`PoolLimits`, :class:`RequestPolicy` and :class:`PeerLimits` are its parts.
The command line, the checks, the changes at run time and the reference page all come from the fields of these classes.
:class:`SettingsArguments` and :class:`RuntimeChanges` type the keyword arguments of
:class:`~pirate.service.JobServer` and of its ``reconfigure``.

Every room may import this one, whose modules import ``errors`` and ``wire.words`` and never load ZeroMQ or Twisted.
"""

from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.settings.settings import RuntimeChanges, Settings, SettingsArguments

__all__ = ["PeerLimits", "PoolLimits", "RequestPolicy", "RuntimeChanges", "Settings", "SettingsArguments"]
