"""Selections that have names: those that were kept in the file, and those that the run has."""

from __future__ import annotations

from .. import names
from ..cache import storage
from ..cache.frames import CacheError
from ..selection import selecting
from ..sequence.properties import SelectionProperties
from ..sequence.sequence import Sequence
from . import pointing, table

LONGEST_NAME = 100
"""Characters that a run takes."""
MOST_BYTES = 200_000
"""Of a selection, deflated, in a message to the backend."""


def keep(shown: Sequence, label: str) -> None:
    """Keep what is selected under a name, in place of what has that name in the file."""
    its = shown.its
    known = next((one for one in its.selections if one.label == label and one.source == "FILE"), None)
    if known is None:
        known = its.selections.add()
        known.name, known.label, known.source = names.new_layer_id(), label, "FILE"
    selecting.keep_as(shown, known.name)
    its.active_selection = its.selections.find(known.name)


def choose(shown: Sequence, kept: SelectionProperties, mode: str) -> None:
    """Select what is kept.

    Raises:
        NothingMeantError: the run has it no more. CacheError: what the run has is not here.
    """
    if kept.source == "FILE":
        selecting.choose_kept(shown, kept.name, mode)
        return
    known = table.read(storage.find(shown.empty))
    if known is None or kept.label not in known.selected:
        raise pointing.NothingMeantError(f"The run has no selection '{kept.label}' any more")
    pointing.choose_columns(shown, known.selections, [known.selected.index(kept.label)], mode)


def bits_for_run(shown: Sequence, kept: SelectionProperties) -> bytes:
    """A selection of the file as the backend takes it; see `selecting.kept_bits`.

    Raises:
        NothingMeantError: it is the run's, has no name, or is more than one message holds.
        CacheError: frames are not here.
    """
    label = kept.label.strip()
    if kept.source == "RUN":
        raise pointing.NothingMeantError(f"'{label}' is in the run already")
    if not 0 < len(label) <= LONGEST_NAME:
        raise pointing.NothingMeantError(f"Give the selection a name of 1 to {LONGEST_NAME} characters")
    bits = selecting.kept_bits(shown, kept.name)
    if len(bits) > MOST_BYTES:
        raise pointing.NothingMeantError(
            f"'{label}' is too scattered for one message to the backend; select along simpler outlines"
        )
    return bits


def run_has(shown: Sequence, label: str) -> bool:
    """Whether the run has a selection of this name, as far as is known here."""
    return any(one.label == label.strip() and one.source == "RUN" for one in shown.its.selections)


def forget(shown: Sequence, kept: SelectionProperties) -> None:
    """Take a selection from the list; one of the run stays in the run."""
    its, name = shown.its, kept.name
    if kept.source == "FILE":
        selecting.forget(shown, name)
    its.selections.remove(its.selections.find(name))
    its.active_selection = min(its.active_selection, max(len(its.selections) - 1, 0))


def list_those_of_run(shown: Sequence) -> None:
    """Have the list show the selections that the run has now, as its cache knows."""
    try:
        known = table.read(storage.find(shown.empty))
    except CacheError:
        return
    its = shown.its
    wanted = () if known is None else known.selected
    for one in list(its.selections):
        if one.source == "RUN" and one.label not in wanted:
            its.selections.remove(its.selections.find(one.name))
    listed = {one.label for one in its.selections if one.source == "RUN"}
    for label in wanted:
        if label not in listed:
            made = its.selections.add()
            made.name, made.label, made.source = names.new_layer_id(), label, "RUN"
    its.active_selection = min(its.active_selection, max(len(its.selections) - 1, 0))
