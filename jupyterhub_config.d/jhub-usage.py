"""Accounting by jhub-usage. For Hubs that read a folder of configuration files.

On zero-to-jupyterhub, what `hub.extraConfig` sets runs after this file; there, put the last two
lines under a key that sorts last (`zz-jhub-usage`), so that nothing overwrites them.
"""

import jhub_usage

# Everything may stay as it is; see the settings in the documentation. For example:
# c.JHubUsage.database_url = "postgresql+psycopg://usage@db/usage"

jhub_usage.configure(c)
