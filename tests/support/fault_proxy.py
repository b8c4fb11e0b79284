"""A TCP proxy between a client and PostgreSQL that can break the connection in chosen ways.

Modes, which hold for open and new connections alike from the moment they are set:

- `pass_on()`             forward everything
- `cut()`                 reset open connections and refuse service to new ones (RST)
- `blackhole()`           accept and keep connections, forward nothing
- `drop_reply_after(b"COMMIT")`  let the next message that holds these bytes reach the server, wait
  for the server's reply, swallow it, reset the connection, then pass on again: the server has
  committed and the client cannot know

Limitations: it does not parse the protocol. Bytes are looked for in what the client sends, wherever
they stand, so `ON COMMIT DROP` counts as well; it sees nothing when TLS is on.
"""

import contextlib
import select
import socket
import struct
import threading

# l_onoff=1, l_linger=0: close() sends RST instead of an orderly end.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
STEP_S = 0.02


class FaultProxy:
    """Listens on 127.0.0.1:`port`, forwards to 127.0.0.1:`target_port`. Use with `with`."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.swallowed = 0
        self._mode = "pass"
        self._needle = b""
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(STEP_S)
        self.port: int = self._listener.getsockname()[1]
        self._spawn(self._accept)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    # -- modes ----------------------------------------------------------------------------------

    @property
    def mode(self) -> str:
        return self._mode

    def pass_on(self) -> None:
        self._set("pass")

    def cut(self) -> None:
        self._set("cut")

    def blackhole(self) -> None:
        self._set("blackhole")

    def drop_reply_after(self, needle: bytes) -> None:
        self._set("drop_reply", needle)

    def _set(self, mode: str, needle: bytes = b"") -> None:
        with self._lock:
            self._mode, self._needle = mode, needle

    def _take_needle(self, data: bytes) -> bool:
        """Is this the message whose reply is to be lost? Only one connection gets a yes."""
        with self._lock:
            if self._mode != "drop_reply" or self._needle not in data:
                return False
            self._mode = "pass"
            self.swallowed += 1
            return True

    # -- work -----------------------------------------------------------------------------------

    def _spawn(self, target, *args) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        server = None
        try:
            while self._mode == "blackhole" and not self._closing.is_set():
                self._closing.wait(STEP_S)
            if self._mode == "cut" or self._closing.is_set():
                return
            server = socket.create_connection(("127.0.0.1", self.target_port), timeout=5)
            self._forward(client, server)
        except OSError:
            pass  # either side went away
        finally:
            for end in (client, server):
                if end is not None:
                    with contextlib.suppress(OSError):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                    end.close()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        """Carry bytes both ways until one side ends or a fault is due."""
        swallow = False
        while not self._closing.is_set():
            if self._mode == "cut":
                return
            if self._mode == "blackhole":
                self._closing.wait(STEP_S)
                continue
            readable, _, _ = select.select([client, server], [], [], STEP_S)
            # The mode may have changed while we waited: what was read then must not get through.
            if self._mode in ("cut", "blackhole"):
                continue
            if server in readable:
                data = server.recv(65536)
                if not data or swallow:
                    return  # with `swallow`, this was the reply that must not arrive
                client.sendall(data)
            if client in readable:
                data = client.recv(65536)
                if not data:
                    return
                swallow = swallow or self._take_needle(data)
                server.sendall(data)

    def close(self) -> None:
        self._closing.set()
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info) -> None:
        self.close()
