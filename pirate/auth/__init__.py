"""
Access control: the keys, the address rules, and the decision about each connection.

This room never loads the reactor.

May import: ``errors``, ``settings``.  May be imported by: ``service`` (only ``policy``), ``transport`` (only
``rules``), ``server`` (only ``policy``), ``commands``, ``testing`` (only ``rules``); inside functions only, ``tap``
(only ``policy``), ``client`` (only ``keys``).
"""
