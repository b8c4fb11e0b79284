"""The demonstration: a real Hub on one machine with made-up people, prices and a past.

Everything but the GPUs is real: they are only declared. Nothing here is used outside the demo.
"""


def main(args) -> int:
    """``jhub-usage demo``: prepare the data if there are none, then run the Hub until Ctrl-C."""
    from .run import main as run

    return run(args)
