"""
What several tests share: cases, servers, clients and apps.

Only modules of ``pirate.test`` import from here; a test module imports from no other test module.
"""
