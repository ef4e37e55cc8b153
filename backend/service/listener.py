"""The server's socket: where it listens, who may connect (ZAP), and what a connection may pile up.

On loopback anybody on this machine may connect and must show the token in every request. Everywhere else connections
are encrypted and authenticated by CURVE before a byte of them is read.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.auth.thread import ThreadAuthenticator

from backend import access, wire
from backend.access import CurveKeys
from backend.service.config import ServerConfig
from backend.service.errors import BackendError
from backend.service.guard import Guard
from backend.service.keys import Gate, new_pair, server_keys
from backend.uploads.inbox import LOCAL

log = logging.getLogger("legs4d.backend")

ZAP_DOMAIN = "legs4d"
HEARTBEAT_MS = 10_000
HANDSHAKE_MS = 5_000
LINGER_MS = 500
SEND_BUFFER = 256 * 1024
"""Bytes of one connection that the system keeps. Frames are larger than any buffer; a small one fits the processor's
cache and lets other connections' turns come sooner: measured, twice the rate and a third of the 99th percentile."""
WAITING_MESSAGES = 64
"""Of one connection, read from the network but not yet by us; then its sender has to wait. Whole messages only: what an
unfinished one may weigh is the guard's business."""


@dataclass(frozen=True)
class Access:
    """How this machine's own clients get in, which goes into the server file.

    Attributes:
        endpoint: "tcp://address:port" to connect to.
        server_key: public key of the server, empty without CURVE.
        keys: a pair that is let in until this server ends, None without CURVE.
    """

    endpoint: str
    server_key: str = ""
    keys: CurveKeys | None = None


class Listener:
    """The bound ROUTER socket; `left` is called, in another thread, when connections have ended.

    Raises BackendError when the port is taken, the address is not this machine's, or the keys cannot be read.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        config: ServerConfig,
        state_dir: Path,
        left: Callable[[], None] = lambda: None,
    ) -> None:
        self._refuse_root(config)
        self.gate: Gate | None = None
        """Who is let in by key; None without CURVE."""
        self._authenticator = ThreadAuthenticator(context, log=logging.getLogger("legs4d.zap"))
        self.socket = context.socket(zmq.ROUTER)
        longest = wire.REQUEST_LIMITS.part + (wire.CURVE_BYTES if config.encrypted else 0)
        for option, value in (
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.MAXMSGSIZE, longest),  # a longer part closes its connection before it fills memory
            (zmq.RCVHWM, WAITING_MESSAGES),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS),
            (zmq.LINGER, LINGER_MS),
            (zmq.SNDBUF, SEND_BUFFER),
            (zmq.IPV6, int(":" in config.bind)),
        ):
            self.socket.setsockopt(option, value)
        self.socket.setsockopt_string(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        server_key, keys = self._authenticate(config, state_dir)
        self.guard = Guard(self.socket, config.limits.clients, left)
        try:
            self.address = self._bind(config)
        except BackendError:
            self.close()
            raise
        self.access = Access(_local(self.address), server_key, keys)

    def knows(self, frame: zmq.Frame) -> bool:
        """Whether the sender of this part is still let in: keys can be revoked while a connection stands."""
        return self.gate is None or self.gate.name_of(str(frame.get("User-Id"))) is not None

    def who(self, frame: zmq.Frame) -> tuple[str, str]:
        """(name of the sender's key, that key); the name is LOCAL for this machine's own pair, and without keys."""
        if self.gate is None:
            return LOCAL, ""
        key = str(frame.get("User-Id"))
        return self.gate.name_of(key) or LOCAL, key

    def close(self) -> None:
        """Unbind, and send what still waits for half a second."""
        self.guard.close()
        self.socket.close(LINGER_MS)
        if self._authenticator.is_alive():
            self._authenticator.stop()

    def _authenticate(self, config: ServerConfig, state_dir: Path) -> tuple[str, CurveKeys | None]:
        self._authenticator.start()
        if not config.encrypted:
            self._authenticator.allow("127.0.0.1", "::1", "::ffff:127.0.0.1")
            return "", None
        own, local = server_keys(state_dir), new_pair()
        self.gate = Gate(state_dir, local.public)
        self._authenticator.configure_curve_callback(ZAP_DOMAIN, credentials_provider=_Provider(self.gate))
        self.socket.curve_server = True
        self.socket.curve_publickey, self.socket.curve_secretkey = own.public.encode(), own.secret.encode()
        return own.public, local

    def _bind(self, config: ServerConfig) -> str:
        address = "127.0.0.1" if config.bind == "localhost" else config.bind
        host = f"[{address}]" if ":" in address else address
        usual = access.DEFAULT_PORT if config.beyond_loopback else 0
        port = (usual if config.port is None else config.port) or "*"
        try:
            self.socket.bind(f"tcp://{host}:{port}")
        except zmq.ZMQError as error:
            raise BackendError(
                f"cannot listen on {config.bind}, port {'any' if port == '*' else port} ({error.strerror})",
                fix="choose another --port; --bind takes an address of this machine",
            ) from error
        return str(self.socket.getsockopt_string(zmq.LAST_ENDPOINT)).rstrip("\0")

    def _refuse_root(self, config: ServerConfig) -> None:
        if getattr(os, "geteuid", lambda: 1)() != 0:
            return
        if config.beyond_loopback and not config.allow_root:
            raise BackendError(
                "a server that other machines reach does not run as root",
                fix="start it as an ordinary user, or with --allow-root inside a container",
            )
        log.warning("runs as root: jobs and whoever may start them can do anything on this machine")


class _Provider:
    """What pyzmq asks for every connection's key."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def callback(self, domain: str, key: bytes) -> bool:
        public = key.decode("ascii", "replace")  # in Z85
        known = self._gate.name_of(public) is not None
        if not known:
            log.warning("a connection with the unknown key %s was refused", public)
        return known


def _local(address: str) -> str:
    """Where this machine's own clients connect, if the server listens on all interfaces."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    plain = ipaddress.ip_address(host.strip("[]"))
    if not plain.is_unspecified:
        return address
    return f"tcp://{'127.0.0.1' if plain.version == 4 else '[::1]'}:{port}"
