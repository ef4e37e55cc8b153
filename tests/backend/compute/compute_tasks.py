"""Tasks for the computing process that test_compute.py gives it."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np

from backend.compute.worker import Context
from legs4d.errors import RunError
from legs4d.progress import Progress, Stopped

Answer = tuple[dict[str, Any], dict[str, Any]]


def scale(params: dict[str, Any], context: Context) -> Answer:
    values = np.arange(params["size"], dtype=np.float32) * params["factor"]
    return {"engine": context.engine, "factor": params["factor"]}, {"values": values}


def refuse(params: dict[str, Any], context: Context) -> Answer:
    raise RunError("not like this", where="here", fix="do that")


def break_down(params: dict[str, Any], context: Context) -> Answer:
    raise ZeroDivisionError


def die(params: dict[str, Any], context: Context) -> Answer:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def wait(params: dict[str, Any], context: Context) -> Answer:
    """Until nobody wants it."""
    context.progress(Progress("waiting", 0, 1))
    context.stop.wait()
    raise Stopped


def deaf(params: dict[str, Any], context: Context) -> Answer:
    context.progress(Progress("waiting", 0, 1))
    time.sleep(1000)
    raise AssertionError
