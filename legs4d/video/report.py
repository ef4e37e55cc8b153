"""What a video's scene is, for a person: sheets of pictures, and a page."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.files import write_file
from legs4d.gaussians.store.run import Run
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Thing
from legs4d.video.motion.colors import Shown
from legs4d.video.objects.canonical import Canonical
from legs4d.video.pictures import Picture, chosen_frames, sheet
from legs4d.video.scene.compose import Moving
from legs4d.video.scene.distance import NOTHING, Distances
from legs4d.video.scene.filming import Filming
from legs4d.video.scene.result import Scene

HONEST = 30
"""Degrees from the filmed path up to which the picture is honest, about: beyond it shows what was invented."""
ASIDE = (-60.0, -30.0, 30.0, 60.0)
"""Degrees around the scene's middle, of the sheet of the scene."""
SEEN = 0.5
"""From which a Gaussian counts as seen."""
Floats = NDArray[np.float64]


def motion_sheet(clip: Clip, things: list[Thing], moving: list[Moving], filming: Filming) -> Picture:
    """Frames as filmed, as drawn, and the difference; objects alone, before any distance is known."""
    rows: list[list[Picture]] = [[], [], []]
    for frame in chosen_frames(clip.num_frames):
        picture = clip.picture(frame)
        drawn = np.ones_like(picture)
        covered = np.zeros(picture.shape[:2], np.float32)
        for one in moving:
            if not one.there[frame]:
                continue
            unit = Distances(np.ones(clip.num_frames), (NOTHING,) * clip.num_frames, "")
            color, alpha = _drawn(one.in_world(frame, filming, unit), _camera(filming, frame), near=0.02)
            drawn = color * alpha[..., None] + drawn * (1 - alpha[..., None])
            covered = np.maximum(covered, alpha)
        mask = np.zeros(picture.shape[:2], bool)
        for thing in things:
            mask |= thing.mask(frame)
        rows[0].append(np.where(mask[..., None], picture, 0.35 * picture + 0.65))
        rows[1].append(drawn)
        rows[2].append(np.repeat((0.5 + 0.5 * (covered - mask))[..., None], 3, axis=2).astype(np.float32))
    return sheet(rows)


def scene_sheet(run: Run, scene: Scene) -> Picture:
    """Frames as filmed, as drawn from the camera, and from beside it."""
    rows: list[list[Picture]] = [[] for _ in range(2 + len(ASIDE))]
    info = run.info
    center, up = np.array(info["center"]), np.array(info["up"])
    for frame in chosen_frames(run.num_frames):
        camera = _camera(scene.filming, frame)
        everything = run.frame(frame)
        rows[0].append(scene.clip.picture(frame))
        rows[1].append(_drawn(everything, camera, near=info["near"])[0])
        for row, angle in enumerate(ASIDE):
            rows[2 + row].append(_drawn(everything, turned(camera, center, up, angle), near=info["near"])[0])
    return sheet(rows)


def turned(camera: Cameras, center: Floats, up: Floats, degrees: float) -> Cameras:
    """One camera, carried around an axis through `center`."""
    angle = np.radians(degrees)
    x, y, z = up / np.linalg.norm(up)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(4)
    turn[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    turn[:3, 3] = center - turn[:3, :3] @ center
    pose = camera.world_to_camera[0].astype(np.float64) @ np.linalg.inv(turn)
    return Cameras(pose[None].astype(np.float32), camera.intrinsics, camera.width, camera.height, camera.ids)


def _camera(filming: Filming, frame: int) -> Cameras:
    return filming.cameras().take([frame])


def _drawn(gaussians: Gaussians, camera: Cameras, *, near: float) -> tuple[Picture, NDArray[np.float32]]:
    """([H, W, 3] on white, [H, W] alpha)."""
    with torch.no_grad():
        drawn = render(gaussians.torch(), camera, background=torch.ones(3), near=near)
    return drawn.color[0].clamp(0, 1).numpy(), drawn.alpha[0].numpy()


def report_of(
    scene: Scene,
    objects: list[Canonical],
    shown: list[Shown],
    failed: list[dict[str, Any]],
    warnings: list[str],
    seconds: dict[str, float],
) -> dict[str, Any]:
    """What was done and how well, JSON."""
    clip, filming = scene.clip, scene.filming
    rows = []
    for thing, canonical, one, moving, distances in zip(
        scene.things, objects, shown, scene.moving, scene.distances, strict=True
    ):
        hidden = np.flatnonzero(~moving.there).tolist()
        away = distances.factors * moving.centers[:, 2]
        own = {
            "id": thing.id,
            "name": thing.name,
            "masks": thing.route,
            "frame": canonical.frame,
            "cut": canonical.is_cut,
            "hidden": hidden,
            "distance": [round(float(v), 4) for v in away],
            "routes": list(distances.routes),
            "why": distances.why,
            "seen": round(float((one.seen >= SEEN).mean()), 3),
            "psnr": _mean(one.psnr),
            "iou": _mean(one.iou),
        }
        rows.append(own)
        if canonical.is_cut:
            warnings.append(
                f"{thing.called}: the picture's border cuts it in every frame; what is beyond is not there."
            )
        if hidden:
            warnings.append(
                f"{thing.called} is not seen in {len(hidden)} frames; it goes on there as before and after."
            )
        if NOTHING in distances.routes:
            warnings.append(f"{thing.called}: nothing tells how far away it is ({distances.why}).")
    every = np.concatenate([scene.plate.seen, *(one.seen for one in shown)])
    return {
        "camera": {"route": filming.route, "why": filming.why, "fov": round(filming.fov, 2), "moves": filming.moves},
        "floor": {"route": filming.floor.route, "height": round(float(filming.floor.height), 4)},
        "objects": rows,
        "failed": failed,
        "seen": {
            "all": round(float((every >= SEEN).mean()), 3),
            "background": round(scene.plate.share, 3),
            "objects": {str(row["id"]): row["seen"] for row in rows},
        },
        "honest": HONEST,
        "frames": clip.num_frames,
        "size": [clip.width, clip.height],
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "warnings": warnings,
    }


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return round(float(known.mean()), 3) if len(known) else None


ROUTES = {
    "given": "it was given",
    "depth": "a depth helper's map, fitted by scale and offset",
    "parallax": "parallax of a moving camera",
    "contact": "it rests on the floor",
    "held": "what holds it",
    "size": "how large it seems",
    "bound": "what shows of it is above the floor",
    "none": "nothing tells",
}
CAMERAS = {
    "given": "given",
    "found": "found by structure from motion",
    "turning": "turns and zooms in one place (homographies)",
    "still": "stands still",
}


def spans_of(routes: list[str]) -> list[tuple[str, str]]:
    """(frames, route) of every stretch of frames with the same one."""
    found: list[tuple[str, str]] = []
    first = 0
    for frame in range(1, len(routes) + 1):
        if frame == len(routes) or routes[frame] != routes[first]:
            last = frame - 1
            found.append((f"{first}–{last}" if last > first else f"{first}", routes[first]))
            first = frame
    return found


def write_page(run: Run, report: dict[str, Any]) -> None:
    """`report.html` in the run, with the pictures beside it."""
    camera = report["camera"]
    rows = []
    for one in report["objects"]:
        routes = "; ".join(f"{span}: {ROUTES[name]}" for span, name in spans_of(one["routes"]))
        quality = "" if one["psnr"] is None else f"{one['psnr']:.1f} dB, {one['iou']:.2f}"
        cells = (
            one["id"],
            one["name"],
            f"{one['frame']}{' (cut by the border)' if one['cut'] else ''}",
            f"{min(one['distance']):.2f} to {max(one['distance']):.2f}",
            f"{routes} ({one['why']})",
            f"{100 * one['seen']:.0f} %",
            quality,
            ", ".join(map(str, one["hidden"][:12])) + (" …" if len(one["hidden"]) > 12 else ""),
        )
        rows.append("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>")
    heads = (
        "id", "name", "made from frame", "distance", "how it is known, by frames", "seen", "as filmed (PSNR, IoU)",
        "hidden in",
    )  # fmt: skip
    failed = "".join(
        f"<li>{html.escape(str(one['name'] or one['id']))}: {html.escape(one['why'])}</li>" for one in report["failed"]
    )
    warnings = "".join(f"<li>{html.escape(text)}</li>" for text in report["warnings"])
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in report["seconds"].items())
    figures = "".join(
        f'<figure><img src="video/{name}.png" alt="{text}"><figcaption>{text}</figcaption></figure>'
        for name, text in (
            ("objects", "Objects at rest, from their camera and turned by 30, 60, 90 and 180 degrees"),
            ("motion", "Frames as filmed, as drawn, and the silhouettes' difference"),
            (
                "scene",
                "Frames as filmed, as drawn, and from 60 and 30 degrees to the left and 30 and 60 to the right",
            ),
        )
    )
    page = f"""<!doctype html><meta charset="utf-8"><title>{html.escape(run.path.name)}</title>
<style>body{{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}}
table{{border-collapse:collapse}}td,th{{border:1px solid #ccc;padding:.3em .5em;text-align:left;vertical-align:top}}
img{{max-width:100%;border:1px solid #ddd}}figure{{margin:1.5em 0}}</style>
<h1>{html.escape(run.path.name)}</h1>
<p>{report["frames"]} frames of {report["size"][0]}×{report["size"][1]}. The camera is {CAMERAS[camera["route"]]}:
{html.escape(camera["why"])}. Field of view {camera["fov"]:.1f}° from top to bottom. The floor is
{html.escape(report["floor"]["route"])}.</p>
<p>Pictures are honest up to about {report["honest"]}° from where it was filmed; beyond that they show what nobody saw.
{100 * report["seen"]["all"]:.0f} % of all Gaussians were seen, and
{100 * report["seen"]["background"]:.0f} % of the background.</p>
<table><tr>{"".join(f"<th>{head}</th>" for head in heads)}</tr>{"".join(rows)}</table>
{f"<h2>Not used</h2><ul>{failed}</ul>" if failed else ""}{f"<h2>To know</h2><ul>{warnings}</ul>" if warnings else ""}
{figures}<p>{seconds}</p>
"""
    write_file(run.path / "report.html", page.encode())
