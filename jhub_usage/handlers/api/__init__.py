"""What each route of the API does, one file per topic. The table is in ``handlers/routes.py``."""
