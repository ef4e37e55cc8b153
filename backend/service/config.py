"""What `legs4d serve` can be told, by options or by a TOML file; one home for every setting and limit."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backend.service.errors import BackendError
from legs4d.settings import checked, read_toml


class Limits(BaseModel):
    """How much the server lets clients ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    clients: int = Field(default=64, ge=1, le=10_000)
    """Connections that said hello; more make room by leaving out the one that has been idle longest."""
    requests: int = Field(default=64, ge=1, le=10_000)
    """Unanswered requests of one client."""
    jobs: int = Field(default=1000, ge=1, le=100_000)
    """Jobs that wait, run or pause."""
    stream_mib: int = Field(default=64, ge=1, le=16_384)
    """Frames under way to one client that it has not taken in, in MiB."""
    upload_mib: int = Field(default=8192, ge=0, le=2**30)
    """The largest file that a client may send, in MiB; 0 takes none."""
    inbox_mib: int = Field(default=16_384, ge=0, le=2**30)
    """What one client's files may weigh together, in MiB."""
    inbox_hours: float = Field(default=24.0, gt=0, le=24 * 365)
    """After which a file that a client sent is deleted, unless it was touched or a job works on it."""


class ServerConfig(BaseModel):
    """All settings of a server, as the keys of its TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    roots: list[Path] = Field(default_factory=list)
    """Folders whose runs and datasets clients may use; the current folder if empty."""
    bind: str = "127.0.0.1"
    """Address of the interface to listen on; anything but loopback is spoken to in CURVE only."""
    port: int | None = Field(default=None, ge=0, le=65_535)
    """0 takes any free one; None does on loopback, and `access.DEFAULT_PORT` beyond it."""
    curve: bool = False
    """CURVE on loopback too."""
    allow_root: bool = False
    """Listen beyond loopback as root, as in a container."""
    state_dir: Path | None = None
    """Where jobs, logs and keys are; `access.state_dir()` if None."""
    devices: list[Annotated[str, Field(max_length=20)]] | None = Field(default=None, min_length=1)
    """What jobs run on ("cuda:0", "cpu", or "cpu:0", "cpu:1" to share the cores); what is found, if None."""
    cluster: str | None = Field(default=None, min_length=1, max_length=200)
    """Ray cluster that trainings use: its address, or "auto"; None for this machine alone."""
    store: str | None = Field(default=None, min_length=1, max_length=1000)
    """Object store (a URL that fsspec knows) through which runs and datasets travel to that cluster's machines; None
    where these see the same folders."""
    log: Literal["text", "json"] = "text"
    """Log lines for people, or one JSON object a line."""
    log_file: Path | None = None
    """Where they go, in place of standard error."""
    log_mib: float = Field(default=10.0, gt=0, le=10_000)
    """Size at which that file is begun anew; the old one gets a number."""
    log_files: int = Field(default=5, ge=1, le=1000)
    """Old ones that are kept."""
    metrics: str | None = Field(default=None, min_length=1, max_length=100)
    """HOST:PORT where /metrics (Prometheus) and /healthz are answered over HTTP; nowhere if None."""
    metrics_beyond_loopback: bool = False
    """Let that be an address that other machines reach: whoever does reads them, without a key."""
    limits: Limits = Limits()

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines can connect."""
        return not _address(self.bind).is_loopback

    @property
    def encrypted(self) -> bool:
        """Whether clients need CURVE keys."""
        return self.curve or self.beyond_loopback


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, relative folders in it taken from where it lies.

    Raises SettingsError when it cannot be read or is no TOML. `make_config` checks what the settings are.
    """
    values = read_toml(path)
    here = path.resolve().parent
    if isinstance(values.get("roots"), list):
        values["roots"] = [str(here / root) if isinstance(root, str) else root for root in values["roots"]]
    for name in ("state_dir", "log_file"):
        if isinstance(values.get(name), str):
            values[name] = str(here / Path(values[name]).expanduser())
    return values


def make_config(values: dict[str, Any], where: str = "the options") -> ServerConfig:
    """Checked settings. Raises SettingsError, which names the first that is wrong, BackendError for a bad address."""
    config = checked(ServerConfig, values, where)
    _address(config.bind)
    return config


def _address(bind: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address("127.0.0.1" if bind == "localhost" else bind)
    except ValueError:
        raise BackendError(
            f"{bind[:60]!r} is no address", where="bind", fix="write one of this machine's, or 0.0.0.0 for all of them"
        ) from None
