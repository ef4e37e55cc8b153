"""Where helpers' weights lie, and which are there."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legs4d.errors import Legs4dError
from legs4d.priors.fetching.conversion import VERSION
from legs4d.priors.prior import Packaged, Prior, Published
from legs4d.priors.protocols import Role
from legs4d.priors.registry import PRIORS, find_prior
from legs4d.scene.content import cache_folder

if TYPE_CHECKING:
    import torch

VARIABLE = "LEGS4D_PRIORS"
"""Environment variable that names the folder, such as a studio's share, which may be read-only."""


def priors_folder(chosen: Path | None = None) -> Path:
    """The folder of weights: the one chosen, else $LEGS4D_PRIORS, else in this user's cache."""
    if chosen is not None:
        return chosen.expanduser().absolute()
    named = os.environ.get(VARIABLE, "").strip()
    return Path(named).expanduser().absolute() if named else cache_folder() / "priors"


def weights_place(prior: Prior, folder: Path) -> Path:
    """Where a helper's weights are: a file that `fetch` writes, or a folder that its user fills."""
    if isinstance(prior.weights, Packaged):
        return folder / f"{prior.name}-{prior.weights.package.version}.safetensors"
    shared = prior.weights.place if isinstance(prior.weights, Published) else ""
    return folder / (shared or prior.name)


def is_there(prior: Prior, folder: Path) -> bool:
    """Whether its weights are there; converted ones, whether they are of the pinned package."""
    if prior.weights is None:
        return True
    place = weights_place(prior, folder)
    if isinstance(prior.weights, Published):
        return place.exists() and (place.is_file() or any(place.iterdir()))
    told = _metadata(place)
    return told.get("sha256") == prior.weights.package.sha256 and told.get("conversion") == str(VERSION)


def is_runnable(prior: Prior) -> bool:
    """Whether the library that runs it is installed."""
    return not isinstance(prior.weights, Published) or find_spec(prior.weights.library) is not None


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return {}
    try:
        with safe_open(path, "np") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return {}  # cut short or another file: as good as not there, and fetched anew


def find_weights(name: str, folder: Path | None = None) -> Path:
    """The weights of a helper.

    Raises:
        Legs4dError: there is no such helper, or its weights are not there; says how to get them.
    """
    prior, where = find_prior(name), priors_folder(folder)
    place = weights_place(prior, where)
    if is_there(prior, where):
        return place
    wrong = "are cut short, or another file's" if place.is_file() else "are not there"
    raise Legs4dError(f"the weights of {prior.name} {wrong}", where=str(place), fix=how_to_get(prior, where))


def how_to_get(prior: Prior, folder: Path) -> str:
    """What to do to have a helper's weights."""
    if isinstance(prior.weights, Published):
        return f"put {prior.weights.files} of {prior.weights.repository} into {weights_place(prior, folder)}"
    return f"fetch them by `legs4d priors get {prior.name}`, or name their folder by {VARIABLE}"


def open_prior(name: str, device: torch.device, folder: Path | None = None) -> Any:
    """The implementation of a helper, ready to be used; what it can do is its role's protocol.

    Raises:
        Legs4dError: there is no such helper, or its weights are not there or not its own.
    """
    prior = find_prior(name)
    module, attribute = prior.opens.split(":")
    if prior.weights is None:
        return getattr(import_module(module), attribute)()
    place = find_weights(name, folder)
    return getattr(import_module(module), attribute)(place, device)


def best_prior(role: Role, folder: Path | None = None) -> Prior | None:
    """The first helper of a role whose weights are there; None if there is none, not even one without weights."""
    where = priors_folder(folder)
    return next((p for p in PRIORS if p.role == role and is_there(p, where) and is_runnable(p)), None)
