"""
The commands for a shell: ``pirate-client`` and ``pirate-keygen``.

The room imports ``client``, ``auth`` and ``settings``.  Nothing imports it.
"""
