"""The configuration file of the demo's Hub; `jhub-usage demo` names it and sets its variables."""

import os
import sys
from pathlib import Path

import jhub_usage
from jhub_usage.demo.profiles import PROFILES

c = get_config()  # noqa: F821 - given by the Hub
data = Path(os.environ["JHUB_USAGE_DEMO_DATA"])
port = int(os.environ["JHUB_USAGE_DEMO_PORT"])
root = os.getuid() == 0

c.JupyterHub.bind_url = f"http://127.0.0.1:{port}"
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.hub_port = port + 1
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{port + 2}"
c.ConfigurableHTTPProxy.pid_file = str(data / "jupyterhub-proxy.pid")
c.JupyterHub.db_url = f"sqlite:///{data / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(data / "jupyterhub_cookie_secret")
c.JupyterHub.allow_named_servers = True

c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = (data / "password").read_text().strip()
c.Authenticator.admin_users = {"admin"}
c.Authenticator.allowed_users = {"admin", "ada", "bob"}
c.JupyterHub.load_groups = {"vision": {"users": ["ada"]}, "language": {"users": ["bob"]}}

c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(data / "home" / "{username}")
c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
c.Spawner.args = ["--allow-root"] if root else []
c.Spawner.environment = {"JUPYTER_CONFIG_DIR": str(data / "jupyter")}
c.Spawner.default_url = "/lab"

c.JHubUsage.demo = True
c.JHubUsage.hub_id = "demo"
c.JHubUsage.profiles = PROFILES
c.JHubUsage.service_port = port + 3
c.JHubUsage.spool_dir = str(data / "spool")
c.JHubUsage.runtime_dir = str(data / "runtime")
c.JHubUsage.stop_interval_s = 5.0
c.JHubUsage.sync_interval_s = 10.0
if "JHUB_USAGE_DATABASE_URL" not in os.environ:
    c.JHubUsage.database_url = f"sqlite:///{data / 'usage.sqlite'}"

jhub_usage.configure(c)
