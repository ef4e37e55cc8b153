"""Networks out of the cache, with a word where a file is another network."""

from __future__ import annotations

from pathlib import Path

import torch

from legs4d.errors import Legs4dError
from legs4d.priors.graphs.graph import GraphError, load_graph
from legs4d.priors.graphs.network import Network


def open_network(path: Path, device: torch.device, title: str, inputs: int, outputs: int) -> Network:
    """The network in a file of the cache.

    Raises:
        Legs4dError: it is damaged, or takes and gives another number of arrays than `title`'s.
    """
    graph = load_graph(path)
    if (len(graph.inputs), len(graph.outputs)) != (inputs, outputs):
        what = f"takes {len(graph.inputs)} and gives {len(graph.outputs)} arrays, {title}'s {inputs} and {outputs}"
        raise Legs4dError(what, where=str(path), fix="delete it and fetch it anew by `legs4d priors get`")
    try:
        return Network(graph, device)
    except GraphError as error:
        fix = "delete it and fetch it anew by `legs4d priors get`"
        raise Legs4dError(str(error), where=str(path), fix=fix) from error
