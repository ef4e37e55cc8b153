"""How far off control nodes carry a surface whose motion is known: by weights that distance tells, and by learned ones.

    .venv/bin/python scripts/bench/reconstruct/carrying.py CAPTURE… [--nodes 1024] [--bindings 4 8]

CAPTURE is a folder that scripts/bench/blender/film_gltf.py made. Nodes move as is best for half of the points, affinely
and by least squares, which is more than a fit allows. Told is how far off the others are, in pixels of the film, in
frames by which no weights were learned. Pictures are not looked at: what is lost here, no fit to pictures finds.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import lsqr
from scipy.spatial import cKDTree

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.deform.fields.nodes import farthest
from legs4d.gaussians.rigid import fit_rigid

SUBJECT = "One moving camera"
LEARNED, TOLD = (0, 8, 16, 33, 41, 49), (4, 12, 20, 37, 45)
"""Stored frames by which weights are learned, and in which it is told how far off points are."""
ROUNDS, STEPS, DAMPED, AROUND = 4, 200, 0.05, 16
"""Of nodes and weights in turn; of each point's weights a round; of least squares; points about a node that tell how it
moves at first."""


@dataclass
class Carried:
    """N points that hang on J of K nodes each.

    Attributes:
        index: [N, J]; local: [N, J, 4] places beside the nodes, in distances between nodes, and 1; weight: [N, J].
    """

    index: NDArray[np.intp]
    local: NDArray[np.float64]
    weight: NDArray[np.float64]
    nodes: int

    def matrix(self) -> csr_matrix:
        """[N, 4 K] that carries points by what nodes do, [4 K, 3]."""
        count, hung = self.index.shape
        rows = np.repeat(np.arange(count), 4 * hung)
        columns = (4 * self.index[..., None] + np.arange(4)).ravel()
        values = (self.weight[..., None] * self.local).ravel()
        return csr_matrix((values, (rows, columns)), shape=(count, 4 * self.nodes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("captures", nargs="+", type=Path)
    parser.add_argument("--nodes", type=int, default=1024)
    parser.add_argument("--bindings", type=int, nargs="+", default=[4, 8])
    asked = figures.parse(parser)
    table = Table(title=f"px off, root of mean squares / nine tenths are nearer: {asked.nodes} nodes")
    for column in ("capture", "nodes a point", "by distance", "learned"):
        table.add_column(column, justify="left" if column == "capture" else "right")
    for place in asked.captures:
        with np.load(place / "surface.npz", allow_pickle=False) as file:
            points = file["points"].astype(np.float64)
        for bindings in asked.bindings:
            before, after = (told(off * pixels(place)) for off in errors(points, asked.nodes, bindings))
            table.add_row(place.name, str(bindings), before, after)
            what = f"{place.name}: surface carried by {asked.nodes} nodes, {bindings} a point, by distance / learned"
            figures.record(SUBJECT, what, f"{before.split(' ')[0]} / {after.split(' ')[0]} px")
    Console().print(table)


def pixels(place: Path) -> float:
    """Of a scene unit in the middle, from which all cameras are as far."""
    meta = json.loads((place / "transforms_test.json").read_text())
    first = meta["frames"][0]
    away = float(np.linalg.norm(np.array(first["transform_matrix"])[:3, 3]))
    with Image.open(place / "test" / (Path(first["file_path"]).name + ".png")) as picture:
        return picture.width / 2 / math.tan(meta["camera_angle_x"] / 2) / away


def told(off: NDArray[np.float64]) -> str:
    return f"{math.sqrt(float((off**2).mean())):.2f} / {float(np.quantile(off, 0.9)):.2f}"


def errors(points: NDArray[np.float64], count: int, bindings: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far off points [T, N, 3] are, by weights of distance and by learned ones, scene units."""
    rest = points[len(points) // 2]
    nodes, fitted = rest[farthest(torch.from_numpy(rest), count).numpy()], np.arange(len(rest)) % 2 == 0
    spacing = cKDTree(nodes).query(nodes, k=4)[0][:, 1:].mean(axis=1)
    distance, index = cKDTree(nodes).query(rest, k=bindings)
    weight = np.exp(-(distance**2 - distance[:, :1] ** 2) / (2 * spacing[index] ** 2))
    beside = (rest[:, None] - nodes[index]) / spacing[index][..., None]
    local = np.concatenate([beside, np.ones((*index.shape, 1))], axis=-1)
    carried = Carried(index, local, weight / weight.sum(axis=1, keepdims=True), count)
    moves = {t: first_moves(rest, points[t], nodes, spacing) for t in (*LEARNED, *TOLD)}
    found = []
    for _ in range(ROUNDS):
        matrix = carried.matrix()
        for t, move in moves.items():
            wrong = points[t] - matrix @ move
            better = [lsqr(matrix[fitted], wrong[fitted, i], damp=DAMPED, iter_lim=40)[0] for i in range(3)]
            moves[t] = move + np.stack(better, axis=1)
        off = [np.linalg.norm(matrix @ moves[t] - points[t], axis=1)[~fitted] for t in TOLD]
        found.append(np.concatenate(off))
        carried.weight = learned(carried, points, moves, float(spacing.mean()))
    return found[0], found[-1]


def first_moves(
    rest: NDArray[np.float64], now: NDArray[np.float64], nodes: NDArray[np.float64], spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[4 K, 3] what nodes do if each moves rigidly with the points around it (Kabsch 1976)."""
    around = cKDTree(rest).query(nodes, k=AROUND)[1]
    fit = fit_rigid(rest[around] - nodes[:, None], now[around])
    turns, shifts = fit.rotation, fit.translation
    return np.concatenate([turns.transpose(0, 2, 1) * spacing[:, None, None], shifts[:, None]], axis=1).reshape(-1, 3)


def learned(
    carried: Carried, points: NDArray[np.float64], moves: dict[int, NDArray[np.float64]], spacing: float
) -> NDArray[np.float64]:
    """[N, J] weights, none negative, 1 in all, by which points come nearest to where they are (projected gradients).

    Args:
        spacing: between nodes, in which it is counted how far off points are.
    """
    off = []
    for t in LEARNED:
        each = np.einsum("njc,njcx->njx", carried.local, moves[t].reshape(-1, 4, 3)[carried.index])
        off.append((each - points[t][:, None]) / spacing)
    apart = np.concatenate(off, axis=2)
    count, hung = carried.index.shape
    squares = np.einsum("njx,nkx->njk", apart, apart) + 1e-4 * np.eye(hung)
    pace = np.trace(squares, axis1=1, axis2=2)[:, None]
    weight = carried.weight
    for _ in range(STEPS):
        moved = weight - np.einsum("njk,nk->nj", squares, weight) / pace
        ordered = -np.sort(-moved, axis=1)
        excess = (ordered.cumsum(axis=1) - 1) / np.arange(1, hung + 1)
        last = (ordered > excess).sum(axis=1) - 1
        weight = np.maximum(moved - excess[np.arange(count), last][:, None], 0)
    return weight


if __name__ == "__main__":
    main()
