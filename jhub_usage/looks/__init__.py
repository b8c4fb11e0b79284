"""The periodic work, one file per topic: look at the Hub, decide on values, write.

``loops.py`` says when; these say what. Each pass stands alone: two services at once, or a pass that
was cut off, do no harm.
"""
