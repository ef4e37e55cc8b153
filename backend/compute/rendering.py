"""Pictures for the `render` request: Gaussians at any instant, through any pinhole camera, with their layers shown.

Needs torch, so it runs in a compute worker, never in the server's own process.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from backend.compute.look import TORCH, Graded, Layer, show
from backend.compute.placement import Part, Placed, as_seen, between, place
from backend.compute.selections import chosen
from backend.compute.worker import Context
from backend.service.requests import Render, RenderLayer, RenderLimits, RenderSample
from legs4d.errors import RunError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.grounding.query import Grounding, query
from legs4d.portable.averaging import around, averaged
from legs4d.portable.look import Amounts, Grade
from legs4d.portable.sh import COEFFICIENTS
from legs4d.progress import OnProgress, Progress, Stopped, StopSignal
from legs4d.raster import render as rasterise
from legs4d.scene.camera import Cameras

Arrays = dict[str, np.ndarray]

FAR = 1e10
"""Depth where nothing is, as Blender's own depth pass has it."""
LEAST_COVERAGE = 1e-3
"""Below this share of a pixel, its depth says nothing."""
BAND = 32
"""Rows that a processor develops at once: they stay in its cache."""
NEAR = 0.01
"""Scene units; for runs that do not say what their cameras could see."""
KEPT_ANSWERS = 16
KEPT_RUNS = 2
SAME_TIME = 1e-4
"""Share of a frame that is none."""
LEVELS = 255
"""Relevancies travel in this many steps; pictures take the same, so that they show what the viewport shows."""


_renderers: OrderedDict[tuple[str, ...], Renderer] = OrderedDict()


def render(params: dict[str, Any], context: Context) -> tuple[dict[str, Any], Arrays]:
    """The `render` request in the computing process; `params` as `render_requests.prepare` makes them."""
    start = time.perf_counter()
    body = Render.model_validate(params["body"])
    renderer = _renderer(params, "cuda:0" if context.engine == "cuda" else "cpu")
    arrays = renderer.render(body, context.progress, context.stop)
    return {"seconds": time.perf_counter() - start}, arrays


def _renderer(params: dict[str, Any], device: str) -> Renderer:
    """The run's renderer, kept as long as nothing writes to the run."""
    key = (params["path"], params["revision"], *map(str, params["state"]))
    if key not in _renderers:
        _renderers[key] = Renderer(Run.open(params["path"]), device)
        while len(_renderers) > KEPT_RUNS:
            _renderers.popitem(last=False)
    _renderers.move_to_end(key)
    return _renderers[key]


class Renderer:
    """Renders one run; keeps what the next picture will need again.

    Args:
        run: with geometry.
        device: "cpu" or "cuda:0".
    """

    def __init__(self, run: Run, device: str) -> None:
        self._run, self._device = run, device
        self._static = run.static().torch(device)
        self._answers: OrderedDict[str, Grounding] = OrderedDict()

    def render(self, body: Render, progress: OnProgress, stop: StopSignal | None = None) -> Arrays:
        """The passes of README.md, `render`: the mean over the samples.

        Args:
            progress: called after every sample.
            stop: ends it between samples with `Stopped`.

        Raises:
            RunError: the run lacks a frame or its language.
            PromptError: a prompt cannot be answered.
        """
        total = len(body.samples)
        answers = [self._answer(layer.prompt) for layer in body.layers]
        while len(self._answers) > max(KEPT_ANSWERS, len(body.layers)):
            self._answers.popitem(last=False)
        layers = [_layer(layer, answer) for layer, answer in zip(body.layers, answers, strict=True)]
        sums: _Sums | None = None
        with torch.no_grad():
            for done, sample in enumerate(body.samples):
                if stop is not None and stop.is_set():
                    raise Stopped("render")
                passes = self._sample(body, sample, answers, layers)
                sums = passes if sums is None else sums.plus(passes)
                progress(Progress("render", done + 1, total))
            assert sums is not None
            return sums.arrays(body, total)

    def _answer(self, prompt: str) -> Grounding:
        if prompt not in self._answers:
            (self._answers[prompt],) = query(self._run, [prompt])
        self._answers.move_to_end(prompt)
        return self._answers[prompt]

    def _sample(self, body: Render, sample: RenderSample, answers: list[Grounding], layers: list[Layer]) -> _Sums:
        parts = self._parts(body, sample, answers)
        if not parts:
            return _nothing(body, self._device)
        placed = place([as_seen(part) for part in parts])
        eye = -(placed.world_to_camera[:3, :3].T @ placed.world_to_camera[:3, 3])
        amounts = Amounts(**body.look.model_dump())
        relevancy, selections = placed.relevancy[:, : len(layers)], placed.relevancy[:, len(layers) :]
        eye = eye.to(self._device)
        shown = show(placed.gaussians, relevancy, layers, amounts, eye, _grades(body), selections)
        features = torch.cat([shown.highlight[:, None], relevancy], dim=1)[shown.source] if layers else None
        behind = [*(body.background or (0.0, 0.0, 0.0)), *(0.0,) * (1 + len(layers) if layers else 0)]
        picture = rasterise(
            shown.gaussians,
            _camera(body, sample, placed),
            features,
            torch.tensor(behind, dtype=torch.float32),
            near=self._run.info.get("near", NEAR) * placed.near_scale,
            depth=True,
            antialiased=body.antialiased,
            region=_region(body, self._device),
        )
        assert picture.depth is not None
        alpha = _cropped(body, picture.alpha)
        color = _scene_linear(_cropped(body, picture.color), alpha, opaque=body.background is not None)
        seen = alpha.new_zeros((*alpha.shape, 1)) if picture.features is None else _cropped(body, picture.features)
        return _Sums(color, alpha, _cropped(body, picture.depth) * placed.unit, seen)

    def _parts(self, body: Render, sample: RenderSample, answers: list[Grounding]) -> list[Part]:
        """What is visible; after the relevancies, a column for each grade that means some of its Gaussians."""
        parts = []
        if sample.static is not None and len(self._static):
            relevancy = self._columns([answer.static for answer in answers], len(self._static))
            parts.append(_masked(body, "static", self._static, relevancy, _matrix(sample.static)))
        if sample.dynamic is not None and self._run.num_dynamic:
            moving, relevancy = self._dynamic(sample.frame, answers, body.average)
            parts.append(_masked(body, "dynamic", moving, relevancy, _matrix(sample.dynamic)))
        if sample.loose is not None and self._run.has_loose:
            frame = math.floor(min(sample.frame, self._run.num_frames - 1.0) + SAME_TIME)
            self._require(frame)
            loose = self._run.loose(frame).torch(self._device)
            if len(loose):
                relevancy = self._columns([answer.loose(frame) for answer in answers], len(loose))
                parts.append(_masked(body, "loose", loose, relevancy, _matrix(sample.loose), frame))
        return [part for part in parts if len(part.gaussians)]

    def _dynamic(self, moment: float, answers: list[Grounding], reach: int) -> tuple[Gaussians, torch.Tensor]:
        """What moves, at a time in capture frames, clamped to the run; between frames, between their states. Frames are
        means over those within `reach` of them."""
        moment = min(moment, self._run.num_frames - 1.0)
        first = math.floor(moment)
        share = moment - first
        now, relevancy = self._dynamic_frame(first, answers, reach)
        if share < SAME_TIME:
            return now, relevancy
        after, then = self._dynamic_frame(first + 1, answers, reach)
        return between(now, after, share), torch.lerp(relevancy, then, share)

    def _dynamic_frame(self, frame: int, answers: list[Grounding], reach: int) -> tuple[Gaussians, torch.Tensor]:
        self._require(frame)
        now = self._run.dynamic(frame)
        near = [other for other in around(frame, reach, self._run.num_frames) if other != frame]
        if near:
            for other in near:
                self._require(other)
            born, died = self._run.born, self._run.died
            alive = (((born <= other) & (other <= died)).astype(np.float32) for other in near)
            now = now.replace(**averaged(vars(now), zip(map(self._run.moving, near), alive, strict=True)))
        moving = now.torch(self._device)
        return moving, self._columns([answer.dynamic(frame) for answer in answers], len(moving))

    def _require(self, frame: int) -> None:
        if not self._run.has_frame(frame):
            raise RunError(f"has no frame {frame} yet", where=str(self._run.path), fix="wait until it is trained")

    def _columns(self, values: list[np.ndarray], count: int) -> torch.Tensor:
        """[count, L] relevancies, in the steps in which they travel."""
        table = np.stack(values, axis=1) if values else np.empty((count, 0), np.float32)
        return torch.as_tensor(np.rint(table * LEVELS) / LEVELS, dtype=torch.float32, device=self._device)


@dataclass(frozen=True)
class _Sums:
    """Passes of one sample, or summed over several: scene linear premultiplied [H, W, 4] with room for what shows of
    a pixel, [H, W], alpha-weighted depth [H, W], features [H, W, 1 + L]."""

    color: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor
    features: torch.Tensor

    def plus(self, other: _Sums) -> _Sums:
        names = self.__dataclass_fields__
        return _Sums(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def arrays(self, body: Render, samples: int) -> Arrays:
        """The means over the samples, as the reply carries them. Takes the sums apart: large pictures are copied as
        seldom as can be."""
        depth = self.depth / self.alpha.clamp(min=LEAST_COVERAGE)
        alpha = _mean(self.alpha, samples)
        depth.masked_fill_(alpha < LEAST_COVERAGE, FAR)
        combined = _mean(self.color, samples)
        combined[..., 3] = alpha if body.background is None else 1.0
        features = _mean(self.features, samples)
        passes = {"combined": combined, "depth": depth, "alpha": alpha, "highlight": features[..., 0]}
        passes = {name: values for name, values in passes.items() if name in body.passes}
        if "masks" in body.passes:
            for index, layer in enumerate(body.layers):
                passes[f"mask:{layer.name}"] = features[..., 1 + index]
        return {name: np.ascontiguousarray(values.cpu().numpy(), np.float32) for name, values in passes.items()}


def _mean(sums: torch.Tensor, samples: int) -> torch.Tensor:
    return sums if samples == 1 else sums.div_(samples)


def _nothing(body: Render, device: str) -> _Sums:
    """The picture of no Gaussians."""
    empty = _cropped(body, torch.zeros((1, body.height, body.width), device=device))
    color = torch.zeros((*empty.shape, 4), device=device)
    color[..., :3] = TORCH.linear(torch.tensor(body.background or (0.0, 0.0, 0.0), device=device))
    return _Sums(color, empty, empty, torch.zeros((*empty.shape, 1 + len(body.layers)), device=device))


def _scene_linear(color: torch.Tensor, alpha: torch.Tensor, *, opaque: bool) -> torch.Tensor:
    """Linear light of a picture [H, W, 3] composited sRGB-encoded, as captures and their training are; [H, W, 4].

    Over a background that is the curve undone; else what it shows is, apart from how much of the pixel it covers.
    """
    made = color.new_empty((*alpha.shape, 4))
    band = len(alpha) if color.is_cuda else BAND
    for first in range(0, len(alpha), band):
        rows = slice(first, first + band)
        light = color[rows].movedim(-1, 0).contiguous()  # by channels: loops over three numbers are slow
        cover = alpha[rows]
        if not opaque:
            light /= cover.clamp(min=1e-6)
        light = TORCH.linear(light).clamp_(min=0.0)
        for channel, values in enumerate(light):
            made[rows, :, channel] = values if opaque else values.mul_(cover)
    return made


def _region(body: Render, device: str) -> torch.Tensor | None:
    """The pixels that are wanted, [1, H, W]. A smaller camera would not do: splats depend on the frame they are in."""
    if body.crop is None:
        return None
    region = torch.zeros((1, body.height, body.width), dtype=torch.bool, device=device)
    left, top, width, height = body.crop
    region[:, top : top + height, left : left + width] = True
    return region


def _cropped(body: Render, images: torch.Tensor) -> torch.Tensor:
    """The wanted part of one picture [1, H, W, …]."""
    if body.crop is None:
        return images[0]
    left, top, width, height = body.crop
    return images[0, top : top + height, left : left + width]


def _matrix(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _masked(
    body: Render, part: str, gaussians: Gaussians, relevancy: torch.Tensor, to_camera: torch.Tensor, frame: int = 0
) -> Part:
    """Those of a part that the request keeps, with how much of each the grades mean."""
    count, device = len(gaussians), str(relevancy.device)
    columns = [relevancy]
    for one in body.grades:
        if one.points is not None:
            named = chosen(one.points, part, count, device, frame)
            columns.append(relevancy.new_zeros((count, 1)) if named is None else named[:, None].to(relevancy))
        elif one.ramp is not None:
            row = torch.tensor(one.ramp, dtype=torch.float64, device=gaussians.means.device)
            along = (gaussians.means.double() @ row[:3] + row[3]).clamp(0, 1)
            columns.append(along[:, None].to(relevancy))
    relevancy = torch.cat(columns, dim=1)
    keep = chosen(body.kept, part, count, device, frame)
    if body.limits is not None and (body.limits.nearest or body.limits.farthest):
        there = _within(gaussians, to_camera, body.limits)
        keep = there if keep is None else keep & there
    if keep is not None:
        gaussians, relevancy = gaussians.take(keep), relevancy[keep]
    return Part(_of_degree(_limited(gaussians, body.limits), body.degree), relevancy, to_camera)


def _within(gaussians: Gaussians, to_camera: torch.Tensor, limits: RenderLimits) -> torch.Tensor:
    """[n] whether each Gaussian's middle is as far from the camera as the limits let it be, in the client's units."""
    matrix = to_camera.to(gaussians.means)
    distance = (gaussians.means @ matrix[:3, :3].T + matrix[:3, 3]).norm(dim=1)
    return (distance >= (limits.nearest or 0.0)) & (distance <= (limits.farthest or math.inf))


def _of_degree(gaussians: Gaussians, degree: int) -> Gaussians:
    """With colours that depend on the view no further than by this degree of spherical harmonics."""
    count = COEFFICIENTS[degree]
    if gaussians.sh_rest is None or gaussians.sh_rest.shape[1] <= count:
        return gaussians
    return gaussians.replace(sh_rest=gaussians.sh_rest[:, :count] if count else None)


def _limited(gaussians: Gaussians, limits: RenderLimits | None) -> Gaussians:
    """With no standard deviation longer than the limits let it be."""
    if limits is None:
        return gaussians
    scales = gaussians.scales
    if limits.largest is not None:
        scales = scales.clamp(max=limits.largest)
    if limits.slenderness is not None:
        scales = torch.minimum(scales, scales.median(dim=1, keepdim=True).values * limits.slenderness)
    return gaussians.replace(scales=scales)


def _grades(body: Render) -> list[Graded]:
    """The request's grades; of one whose layer is not there, nothing."""
    found, column = [], 0
    names = [layer.name for layer in body.layers]
    for one in body.grades:
        grade = Grade(one.exposure, one.hue, one.saturation, tuple(one.lift), tuple(one.gamma), tuple(one.gain))
        has_column = one.points is not None or one.ramp is not None
        place = column if has_column else None
        column += has_column
        if not one.layer or one.layer in names:
            found.append(Graded(grade, names.index(one.layer) if one.layer else None, place, one.strength))
    return found


def _layer(asked: RenderLayer, answer: Grounding) -> Layer:
    threshold = answer.threshold if asked.threshold is None else asked.threshold
    return Layer(asked.strength, threshold, asked.softness, asked.color)


def _camera(body: Render, sample: RenderSample, placed: Placed) -> Cameras:
    intrinsics = np.array([[[sample.fx, 0, sample.cx], [0, sample.fy, sample.cy], [0, 0, 1]]], np.float32)
    return Cameras(placed.world_to_camera.numpy()[None], intrinsics, body.width, body.height, (0,))
