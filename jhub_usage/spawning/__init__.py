"""What the Hub's spawners need: hooks, forms, refusals, the gateway to the database, the spool.

Imported by the Hub's process, and by the service for the spool and the settings file.
"""
