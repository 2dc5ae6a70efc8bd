"""
The commands for a shell: ``pirate-client`` and ``pirate-keygen``.

May import: ``errors``, ``auth``, ``client``.  May be imported by: nothing.
"""
