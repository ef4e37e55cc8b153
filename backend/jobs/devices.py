"""What this machine can train on, found out without importing torch (5 s, and half a gigabyte)."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from backend.service.errors import BackendError

CPU = "cpu"


@dataclass(frozen=True)
class Device:
    """Where one job at a time may run.

    Attributes:
        name: "cpu", "cpu:<index>" (a share of its cores), or "cuda:<index>", as torch counts them.
        description: for a person.
        threads: that a job may compute with; None for as many as there are cores.
    """

    name: str
    description: str
    threads: int | None = None


def find_devices() -> list[Device]:
    """CUDA devices that this torch can use, then the CPU."""
    cpu = Device("cpu", f"{_usable_cores()} cores")
    return [*_cuda_devices(), cpu] if _torch_has_cuda() else [cpu]


def choose_devices(names: Sequence[str]) -> list[Device]:
    """The devices of these names; "cpu:0", "cpu:1", … share the cores. Raises BackendError if one is not there."""
    found = {device.name: device for device in find_devices()}
    shares = [name for name in names if re.fullmatch(r"cpu:\d+", name)]
    threads = max(1, _usable_cores() // max(1, len(shares)))
    for name in shares:
        found[name] = Device(name, f"{threads} of {_usable_cores()} cores", threads)
    if unknown := [name for name in names if name not in found]:
        raise BackendError(
            f"there is no device '{unknown[0]}'",
            where="devices",
            fix=f"choose from {', '.join(found)}, or cpu:0, cpu:1, … for several jobs that share the cores",
        )
    return [found[name] for name in dict.fromkeys(names)]


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _torch_has_cuda() -> bool:
    try:
        return "+cpu" not in version("torch")
    except PackageNotFoundError:
        return False


def _cuda_devices() -> list[Device]:
    """From the driver itself; it honours CUDA_VISIBLE_DEVICES. None when there is no driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    return [Device(f"cuda:{index}", _cuda_name(driver, index)) for index in range(count.value)]


def _cuda_name(driver: ctypes.CDLL, index: int) -> str:
    name = ctypes.create_string_buffer(100)
    if driver.cuDeviceGetName(name, len(name), index) != 0:
        return "CUDA device"
    return name.value.decode(errors="replace")
