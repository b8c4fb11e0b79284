"""Measurements of the hot paths. Each prints its own table; `README.md` keeps results."""
