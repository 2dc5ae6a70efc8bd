"""
The settings of a server: one table of them, whose values are checked when a :class:`Settings` is made.

:class:`Settings` holds everything; :class:`PoolLimits`, :class:`RequestPolicy` and :class:`PeerLimits` are its parts.
The command line, the checks, the changes at run time and the reference page all come from the fields of these classes.
:class:`SettingsArguments` and :class:`RuntimeChanges` type the keyword arguments of
:class:`~pirate.service.JobServer` and of its ``reconfigure``.

This room never loads ZeroMQ or Twisted.

May import: ``errors``, ``wire.words``.  May be imported by: ``service``, ``tap``, ``broker`` (only ``limits``),
``pool`` (only ``limits``), ``auth``, ``transport`` (only ``limits``), ``server``, ``twistd``, ``testing``.
"""

from pirate.settings.limits import PeerLimits, PoolLimits, RequestPolicy
from pirate.settings.settings import RuntimeChanges, Settings, SettingsArguments

__all__ = ["PeerLimits", "PoolLimits", "RequestPolicy", "RuntimeChanges", "Settings", "SettingsArguments"]
