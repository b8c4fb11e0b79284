"""Use cases: one verb each, ``def verb(tx, ..., *, actor)``, one transaction opened by the door.

What was observed reaches them as values; they read the clock after their locks.
"""
