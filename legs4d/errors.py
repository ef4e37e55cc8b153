"""The errors that a person may see: each says what is wrong, where, and what to do about it."""

import errno


def disk_is_full(error: BaseException) -> bool:
    """Whether the system refused to write because the disk, or its user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def reason_of(error: BaseException) -> str:
    """Why a library could not read a file, in a few words.

    NumPy advises to load without safety what it takes for a pickle, which any file is that it does not know.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error)
    if "pickle" in text.lower():
        return "it is another kind of file, or holds Python objects"
    return text.splitlines()[0] if text else type(error).__name__


class Legs4dError(Exception):
    """A problem that its user can mend.

    Args:
        what: what is wrong, with the value found and the value expected.
        where: the file, folder, camera, frame or option concerned.
        fix: what to do about it.

    The command line prints it as one sentence and exits with 1; the backend sends it as an `error` reply
    (`what` and `where` as the message, `fix` as the hint).
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        sentence = f"{where}: {what}" if where else what
        super().__init__(f"{sentence}; {fix}." if fix else f"{sentence}.")


class DatasetError(Legs4dError):
    """A dataset folder cannot be used as it is."""


class RunError(Legs4dError):
    """A run folder is missing, unfinished, of another format, or damaged."""


class PromptError(Legs4dError):
    """A prompt cannot be answered."""


class EncoderError(Legs4dError):
    """An encoder is unknown, or its weights are missing or damaged."""
