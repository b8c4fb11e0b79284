"""``jhub-usage serve`` and ``demo``: programs that run until they are ended."""


def serve(args) -> int:
    """What the Hub runs as its managed service."""
    from ..__main__ import main

    return main()


def demo(args) -> int:
    """The demonstration; ``args`` has ``reset``, ``port`` and ``no_browser``."""
    import os

    from ..demo import main

    if args.database_url:
        os.environ["JHUB_USAGE_DATABASE_URL"] = args.database_url
    return main(args) or 0
