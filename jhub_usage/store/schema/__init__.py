"""The tables, by topic; ``store.tables`` has all of them."""
