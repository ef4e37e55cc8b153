"""Errors of the backend, and how any error becomes the body of an `error` reply."""

from __future__ import annotations

from backend.bodies import ErrorBody
from backend.wire import Code, WireError
from legs4d.errors import DatasetError, Legs4dError, PromptError, RunError, disk_is_full
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.settings import SettingsError

MAX_DIFFERENCES = 200
"""An error tells the first of them; a run of another preset has some forty."""


class BackendError(Legs4dError):
    """A problem that the client or the person who started the server can mend; `code` as in README.md."""

    def __init__(self, what: str, *, where: str = "", fix: str = "", code: Code = Code.FAILED) -> None:
        super().__init__(what, where=where, fix=fix)
        self.code = code


_CODES: tuple[tuple[type[Legs4dError], Code], ...] = (
    (RunDiffers, Code.DIFFERS),
    (RunError, Code.RUN),
    (DatasetError, Code.DATASET),
    (PromptError, Code.PROMPT),
    (SettingsError, Code.BODY),
)


def error_body(error: BaseException) -> ErrorBody:
    """What a client is told. A defect is named by its type only: its text may hold what is no client's."""
    if isinstance(error, WireError):
        return {"code": str(error.code), "message": error.message, "hint": error.hint}
    if isinstance(error, Legs4dError):
        message = f"{error.where}: {error.what}" if error.where else error.what
        body: ErrorBody = {"code": str(code_of(error)), "message": message, "hint": error.fix}
        if isinstance(error, RunDiffers):
            body["differences"] = [one.to_json() for one in error.differences[:MAX_DIFFERENCES]]
        return body
    if disk_is_full(error):
        return {
            "code": str(Code.FAILED),
            "message": "no space is left on the server's disk",
            "hint": "free some, retry",
        }
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, without torch
        return {
            "code": str(Code.FAILED),
            "message": "memory ran out",
            "hint": "stop what else runs on this device, or ask for less: a smaller scale, a smaller picture",
        }
    return {
        "code": str(Code.INTERNAL),
        "message": f"the server failed on this request ({type(error).__name__})",
        "hint": "its log says more; please report it",
    }


def code_of(error: Legs4dError) -> Code:
    """The `error` code of a problem that a person may see."""
    if isinstance(error, BackendError):
        return error.code
    return next((code for kind, code in _CODES if isinstance(error, kind)), Code.FAILED)
