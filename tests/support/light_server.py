"""A light stand-in for a single-user server; the Hub's spawner starts it as a script of its own.

Ready in a tenth of a second. Answers every path with 200 and the header by which the Hub knows its
own kind, and `.../api/status` as jupyter-server does. JUPYTERHUB_SERVICE_URL says where to listen.
Misbehaves when its environment says so (put there by `c.Spawner.environment` or a hook):

- LIGHT_SERVER_NEVER_ANSWER=1     open the port, answer nothing
- LIGHT_SERVER_SLOW_START_S=n     open the port only after n seconds
- LIGHT_SERVER_SLOW_STOP_S=n      go on for n seconds after SIGINT or SIGTERM
- LIGHT_SERVER_EXIT_AFTER_S=n     exit by itself after n seconds, with LIGHT_SERVER_EXIT_CODE (0)

Limitations: it does no OAuth, opens no websockets and reports no activity.
"""

import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


def knob(name: str, default: float = 0) -> float:
    return float(os.environ.get(f"LIGHT_SERVER_{name}") or default)


class Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        while knob("NEVER_ANSWER"):
            time.sleep(3600)
        body = {"started": STARTED, "last_activity": STARTED, "connections": 0, "kernels": 0}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-JupyterHub-Version", os.environ.get("LIGHT_SERVER_HUB_VERSION", "6"))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, format, *args) -> None:
        pass  # the Hub's log is what tests read


def leave(signum, frame) -> None:
    slow_s = knob("SLOW_STOP_S")
    if slow_s:
        # Once is enough: the Hub signals again and again while it waits.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Timer(slow_s, os._exit, [0]).start()
    else:
        os._exit(0)


STARTED = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

if __name__ == "__main__":
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    if exit_after_s := knob("EXIT_AFTER_S"):
        timer = threading.Timer(exit_after_s, os._exit, [int(knob("EXIT_CODE"))])
        timer.daemon = True
        timer.start()
    time.sleep(knob("SLOW_START_S"))
    address = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    ThreadingHTTPServer((address.hostname, address.port), Handler).serve_forever()
