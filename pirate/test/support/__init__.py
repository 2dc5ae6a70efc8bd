"""
Test cases, servers, clients and apps that several test modules share.

Only modules of ``pirate.test`` import from here; a test module imports from no other test module.
"""
