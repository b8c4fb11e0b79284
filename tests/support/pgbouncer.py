"""A real pgbouncer in transaction mode: two statements of one client may meet two server sessions.

That breaks what lives longer than a transaction: session settings, advisory locks of the session,
prepared statements of releases before 1.21. Tests run the store behind it to show it needs none.
"""

import shutil
from pathlib import Path

from .postgres import Postgres, private_directory, unprivileged_user
from .processes import Process, free_port, port_open, wait_until

CONFIG = """
[databases]
* = host=127.0.0.1 port={server_port} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 10
max_client_conn = 500
server_reset_query =
ignore_startup_parameters = extra_float_digits
"""


def find_binary() -> Path | None:
    found = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
    return Path(found) if found else None


class PgBouncer:
    """One pooler in front of one server. Started by the constructor."""

    def __init__(self, binary: Path, server: Postgres) -> None:
        self.directory = private_directory("jhub-usage-pgbouncer-")
        self.port = free_port()
        config = self.directory / "pgbouncer.ini"
        config.write_text(CONFIG.format(server_port=server.port, port=self.port))
        config.chmod(0o644)
        self._process = Process(
            [binary, config],
            log=self.directory / "log",
            cwd=self.directory,
            user=unprivileged_user(),
        )
        if not wait_until(lambda: port_open(self.port), timeout_s=10):
            tail = self._process.log_tail()
            self.close()
            raise RuntimeError(f"pgbouncer did not start:\n{tail}")

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    @property
    def log(self) -> str:
        return self._process.log

    def close(self) -> None:
        self._process.close()
        shutil.rmtree(self.directory, ignore_errors=True)
