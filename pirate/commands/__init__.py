"""The commands that are typed in a shell: ``pirate-client`` and ``pirate-keygen``."""
