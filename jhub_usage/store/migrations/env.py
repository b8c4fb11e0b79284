"""Alembic's entry point. Migrations run by ``jhub_usage.store.migrate``, which configures all."""
