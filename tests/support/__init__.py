"""The real parts that tests run against, each a small module: servers, hubs, a browser, faults.

Fixtures over them are in tests/conftest.py. Nothing here knows the package under test.
"""
