"""Coloured points in the 3D viewport, drawn here: Workbench would show them grey, and ellipsoids take their time.

Each point is a disc of its middle standard deviation, in the captured colour with the layers' highlight. It is a
preview: renders, and viewports set to show splats, use the node group and material of `look`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import gpu
import numpy as np
from bpy.app.handlers import persistent

from .. import declare, look, names
from ..layers import layers, presets
from ..portable import look as formulas
from ..portable.look import NUMPY
from ..portable.values import SH_C0
from ..selection import grades, mask
from ..whole import libraries
from . import attributes, handlers, playback, sequence
from .highlighter import strongest_and_tint
from .properties import cloud_of, properties_of
from .sequence import Sequence

Array = np.ndarray[Any, Any]

FAINT = 0.1
"""Points less opaque than this are not drawn."""
SMALLEST_PIXELS, LARGEST_PIXELS = 2.0, 24.0
SELECTED_COLOR, SELECTED_SHARE = (1.0, 0.35, 0.0), 0.8
"""Of what is selected, scene linear, and how much of its own colour that covers."""
SPLAT_SHADINGS = ("MATERIAL", "RENDERED")
"""In which Blender shows the node group's splats in their colours; in the others there are points."""
OUTLINE_PIXELS = 8.0
"""What an outline's discs are larger than the points they lie behind."""

_ENCODED = np.linspace(0.0, 1.0, 1024, dtype=np.float32)
_LINEAR = NUMPY.linear(_ENCODED)
"""Scene linear values of 1024 sRGB-encoded ones: exact to half a step, and no power function per point."""

_VERTEX = """
void main() {
    gl_Position = to_clip * vec4(pos, 1.0);
    gl_PointSize = clamp(abs(size) * pixels_per_unit / max(gl_Position.w, 1e-6), smallest, largest);
    if (size < 0.0) {
        gl_PointSize += outline;
        gl_Position.z += gl_Position.w * (farther - 1.0);
        gl_Position.xyw *= farther;
    }
    shade = color;
}
"""
_FRAGMENT = """
void main() {
    vec2 from_center = gl_PointCoord * 2.0 - 1.0;
    if (dot(from_center, from_center) > 1.0) {
        discard;
    }
    fragment = vec4(shade, 1.0);
}
"""

_handle: object | None = None
_shader: gpu.types.GPUShader | None = None
_choices: dict[int, _Chosen] = {}
_batches: dict[int, tuple[tuple[Any, ...], gpu.types.GPUBatch | None]] = {}


def register() -> None:
    """Start drawing, where there is something to draw on."""
    global _handle
    if not bpy.app.background:
        _watch_shading()
        handlers.add(_HANDLERS)
        _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")


def unregister() -> None:
    """Stop drawing."""
    global _handle, _shader
    handlers.remove(_HANDLERS)
    bpy.msgbus.clear_by_owner(_OWNER)
    if _handle is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
    _handle = _shader = None
    _batches.clear()
    _choices.clear()


def apply(empty: bpy.types.Object) -> None:
    """Let a sequence's clouds show as its `viewport` property says: as these points, or through the node group.

    While no viewport has a shading that shows splats, they are points in any case: Workbench would show grey balls.
    """
    points = properties_of(empty).viewport == "POINTS" or not (bpy.app.background or _shading_shows_splats())
    for child in properties_of(empty).cloud_objects:
        child.display_type = "BOUNDS" if points else "TEXTURED"
        child.show_bounds = False
        modifier: Any = child.modifiers.get(look.MODIFIER)
        if modifier is not None and modifier.show_viewport == points:
            modifier.show_viewport = not points


def _shading_shows_splats() -> bool:
    spaces: list[Any] = [
        area.spaces.active
        for window in declare.windows().windows
        for area in window.screen.areas
        if area.type == "VIEW_3D"
    ]
    return any(space.shading.type in SPLAT_SHADINGS for space in spaces)


def _watch_shading() -> None:
    """Be told when a viewport's shading is changed. Loading a file ends it."""
    bpy.msgbus.clear_by_owner(_OWNER)
    key: Any = (bpy.types.View3DShading, "type")
    bpy.msgbus.subscribe_rna(key=key, owner=_OWNER, args=(), notify=_shading_changed)


def _shading_changed() -> None:
    for _, shown in sequence.everywhere():
        apply(shown.empty)


@persistent
def _legs4d_viewport_load(*_: Any) -> None:
    _watch_shading()
    _shading_changed()


_OWNER = object()
_HANDLERS = (("load_post", _legs4d_viewport_load),)


def shown_points(shown: Sequence, child: bpy.types.Object, scene_frame: float) -> tuple[Array, Array, Array]:
    """What is drawn of a cloud: the colours are those that the node group gives.

    Returns:
        [K, 3] positions in the cloud's own axes, [K, 3] colours (scene linear), [K] radii in scene units, negative for
        the discs behind points that outline them; float32.
    """
    cloud, shares = cloud_of(child), presets.amounts(shown.empty, scene_frame)
    chosen = _chosen(child, shown.its.detail)
    radiance = attributes.read(cloud, names.RADIANCE)[chosen.points]
    colors, opacity = _captured(radiance), radiance[:, 3]
    colors = grades.colored(shown, cloud, scene_frame, colors, chosen.points)
    strongest, tint = strongest_and_tint(shown, cloud, scene_frame, chosen.points)
    other = np.flatnonzero(formulas.changed(strongest, shares))  # few, mostly: the rest need no arithmetic
    colors[other] = formulas.colored(NUMPY, colors[other], strongest[other], tint[other], shares)
    around = np.flatnonzero(formulas.outline_opacity(opacity, strongest, shares) > FAINT)
    if shares.isolate:
        opacity = formulas.opacity(NUMPY, opacity, strongest, shares)
    if names.SELECTED in cloud.attributes:
        marked = np.flatnonzero(mask.read(cloud, names.SELECTED)[chosen.points])
        colors[marked] += (np.array(SELECTED_COLOR, np.float32) - colors[marked]) * np.float32(SELECTED_SHARE)
    positions, radii = attributes.read(cloud, names.POSITION)[chosen.points], chosen.radii
    if shown.its.largest:
        radii = np.minimum(radii, np.float32(shown.its.largest / max(child.matrix_world.median_scale, 1e-12)))
    kept = np.flatnonzero(opacity > FAINT)
    if not len(around):
        return (positions, colors, radii) if len(kept) == len(opacity) else (positions[kept], colors[kept], radii[kept])
    drawn = np.concatenate((around, kept))
    return (
        positions[drawn],
        np.concatenate((tint[around], colors[kept])),
        np.concatenate((-radii[around], radii[kept])),
    )


def _captured(radiance: Array) -> Array:
    """[N, 3] scene linear colours of [N, 4] SH DC coefficients and opacity."""
    last = len(_LINEAR) - 1
    levels = radiance[:, :3] * np.float32(SH_C0 * last)
    levels += np.float32(0.5 * last + 0.5)
    np.clip(levels, 0, last, out=levels)
    return np.take(_LINEAR, levels.astype(np.uint16))


@dataclass(frozen=True)
class _Chosen:
    """The points of a cloud that viewports show.

    Attributes:
        key: what they were chosen by.
        points: all of them as a slice, or their numbers [K].
        radii: [K] middle standard deviations.
    """

    key: tuple[Any, ...]
    points: slice | Array
    radii: Array


def _chosen(child: bpy.types.Object, detail: float) -> _Chosen:
    """Chosen anew only when the cloud is filled anew or its detail changes; loose points with every frame."""
    cloud = cloud_of(child)
    is_loose = properties_of(child).role == "LOOSE"
    has_own = is_loose or "scales" in properties_of(child.parent).changing.split()
    key = (len(cloud.points), cloud.get(sequence.FILLED), detail, playback.version(child) if has_own else None)
    known = _choices.get(child.session_uid)
    if known is None or known.key != key:
        points: slice | Array = slice(None)
        if detail < 1.0 and names.RANK in cloud.attributes:
            points = np.flatnonzero(attributes.read(cloud, names.RANK) <= detail)
        radii = np.median(attributes.read(cloud, names.SCALE)[points], axis=1)
        known = _choices[child.session_uid] = _Chosen(key, points, radii)
    return known


def _draw() -> None:
    context: Any = bpy.context
    shading = context.space_data.shading.type
    if shading == "RENDERED" and context.scene.render.engine == names.ENGINE:
        return  # the engine draws the splats themselves
    for shown in sequence.find(context.scene):
        if shown.its.viewport != "POINTS" and shading in SPLAT_SHADINGS:
            continue
        instances = libraries.instances(context.scene, shown.empty)
        for child in shown.objects:
            if child.visible_get():
                _draw_cloud(context, shown, child, child.matrix_world)
            for to_world in instances:
                _draw_cloud(context, shown, child, to_world @ child.matrix_world)


def _draw_cloud(context: Any, shown: Sequence, child: bpy.types.Object, to_world: Any) -> None:
    batch = _batch(shown, child, context.scene.frame_current_final)
    if batch is None:
        return
    global _shader
    _shader = _shader or _make_shader()
    view, region = context.region_data, context.region
    unit = to_world.to_scale()[0]
    gpu.state.depth_test_set("LESS_EQUAL")
    gpu.state.depth_mask_set(True)
    gpu.state.program_point_size_set(True)
    _shader.bind()
    _shader.uniform_float("to_clip", view.perspective_matrix @ to_world)
    _shader.uniform_float("pixels_per_unit", unit * region.height * view.window_matrix[1][1])
    _shader.uniform_float("smallest", SMALLEST_PIXELS)
    _shader.uniform_float("largest", LARGEST_PIXELS)
    _shader.uniform_float("outline", OUTLINE_PIXELS)
    _shader.uniform_float("farther", formulas.OUTLINE_PUSH)
    batch.draw(_shader)
    gpu.state.program_point_size_set(False)
    gpu.state.depth_mask_set(False)
    gpu.state.depth_test_set("NONE")


def _batch(shown: Sequence, child: bpy.types.Object, scene_frame: float) -> gpu.types.GPUBatch | None:
    """The cloud's points on the GPU, made anew only when what they show has changed."""
    its = shown.its
    tints = tuple(tuple(layer.color) for layer in its.layers)
    shares, weights = presets.amounts(shown.empty, scene_frame), layers.weights(shown, scene_frame)
    signature = (
        playback.version(child),
        shares,
        its.detail,
        its.largest,
        weights,
        tints,
        grades.at(shown, scene_frame),
    )
    known = _batches.get(child.session_uid)
    if known is None or known[0] != signature:
        _batches[child.session_uid] = known = (signature, _make_batch(*shown_points(shown, child, scene_frame)))
    return known[1]


def _make_batch(positions: Array, colors: Array, radii: Array) -> gpu.types.GPUBatch | None:
    if not len(positions):
        return None
    layout = gpu.types.GPUVertFormat()
    for name, width in (("pos", 3), ("color", 3), ("size", 1)):
        layout.attr_add(id=name, comp_type="F32", len=width, fetch_mode="FLOAT")
    buffer = gpu.types.GPUVertBuf(layout, len(positions))
    for name, values in (("pos", positions), ("color", colors), ("size", radii)):
        column: Any = values  # the stubs know no arrays
        buffer.attr_fill(name, column)
    return gpu.types.GPUBatch(type="POINTS", buf=buffer)


def _make_shader() -> gpu.types.GPUShader:
    between = gpu.types.GPUStageInterfaceInfo("legs4d_points")
    between.flat("VEC3", "shade")
    info = gpu.types.GPUShaderCreateInfo()
    info.push_constant("MAT4", "to_clip")
    info.push_constant("FLOAT", "pixels_per_unit")
    info.push_constant("FLOAT", "smallest")
    info.push_constant("FLOAT", "largest")
    info.push_constant("FLOAT", "outline")
    info.push_constant("FLOAT", "farther")
    info.vertex_in(0, "VEC3", "pos")
    info.vertex_in(1, "VEC3", "color")
    info.vertex_in(2, "FLOAT", "size")
    info.vertex_out(between)
    info.fragment_out(0, "VEC4", "fragment")
    info.vertex_source(_VERTEX)
    info.fragment_source(_FRAGMENT)
    return gpu.shader.create_from_info(info)
