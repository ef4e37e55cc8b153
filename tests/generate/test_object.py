"""`object`: small videos of a known thing become runs, by every road; goes on where it was stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from PIL import Image

from legs4d.commands import Object
from legs4d.config import DeformSettings
from legs4d.config.deform import GrowthSettings
from legs4d.context import Context
from legs4d.errors import DatasetError, Legs4dError
from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.gaussians.nodes import read_nodes
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.generate import work
from legs4d.generate.fitting import Following
from legs4d.generate.lenses import FOURDGEN, PSEUDO_AZIMUTHS, PSEUDO_ELEVATION, SYNCDREAMER, Lens
from legs4d.generate.optimise.road import QUICK
from legs4d.generate.roads import ROUND, choose
from legs4d.generate.shapes.revolve import roundness
from legs4d.generate.subject.orders import AS_TEXT, check_orders, check_start
from legs4d.generate.subject.source import read_subject
from legs4d.progress import Progress, StageReporter, Stopped
from legs4d.raster.rasterise import render
from legs4d.scene.camera import Cameras
from tests.generate.test_shapes import box, disc

SIDE = 64


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work as small as can be."""
    growth = GrowthSettings(max_gaussians=1500)
    shape = DeformSettings(steps=120, num_points=800, enough_pixels=1, sh_degree=0, static_sh_degree=0, growth=growth)
    sizes = work.Sizes(SIDE, 48, 1200, Following(steps=40, nodes=24), shape)
    monkeypatch.setattr(work.Sizes, "of", classmethod(lambda cls, device: sizes))


def shown(thing: Gaussians, cameras: Cameras) -> np.ndarray:
    """[C, S, S, 4] uint8 RGBA, colours not times alpha."""
    drawn = render(thing.torch(), cameras, near=0.3)
    alpha = drawn.alpha[..., None].clamp(1e-3, 1)
    rgba = torch.cat([(drawn.color / alpha).clamp(0, 1), drawn.alpha[..., None]], dim=-1)
    return (rgba.numpy() * 255).round().astype(np.uint8)


def block() -> Gaussians:
    """The block, small enough for all cameras."""
    thing = box()
    return thing.replace(means=0.7 * thing.means, scales=0.7 * thing.scales)


def moved(frame: int) -> Gaussians:
    thing = block()
    return thing.replace(means=thing.means + np.array([0.04 * frame, 0, 0], np.float32))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The block goes to its left for four frames."""
    folder = tmp_path_factory.mktemp("film")
    for frame in range(4):
        Image.fromarray(shown(moved(frame), FOURDGEN.cameras(0, 0, SIDE))[0]).save(folder / f"{frame}.png")
    return folder


def made(film: Path, out: Path, **how: object) -> tuple[dict[str, object], Run]:
    told = work.object_run(Object.model_validate({"source": str(film), "out": str(out), **how}), Context("cpu"))
    return told, Run.open(out)


def middle(run: Run, frame: int) -> float:
    gaussians = run.frame(frame)
    return float(np.average(gaussians.means[:, 0], weights=gaussians.opacities))


def test_a_video_becomes_a_run_that_moves_as_it_does(film: Path, tmp_path: Path) -> None:
    told, run = made(film, tmp_path / "run")
    assert (told["kind"], told["prior"], told["frames"]) == ("generated", "inflate", 4)
    assert run.num_frames == 4 and run.info["fps"] == 24 and read_nodes(run) is not None
    assert middle(run, 3) - middle(run, 0) > 0.1
    seen = run.seen(0)
    assert seen is not None and 0.2 < (seen > 0).mean() <= 0.5
    front = run.cameras("train").take([0]).scaled(SIDE / 512)
    for frame in (0, 3):
        drawn = render(run.frame(frame).torch(), front, background=torch.ones(3), near=run.info["near"])
        assert float((drawn.alpha[0] > 0.5).float().mean()) > 0.1
    np.testing.assert_allclose(run.up, (0, 1, 0))


def test_a_stopped_one_goes_on_and_another_source_is_told(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StageReporter, "INTERVAL", 0.0)  # all steps may be done before a second report is due
    stop = Event()

    def halfway(progress: Progress) -> None:
        if progress.stage == "bending" and progress.done > 5:
            stop.set()

    asked = Object(source=str(film), out=str(tmp_path / "run"), prior="revolve")
    with pytest.raises(Stopped):
        work.object_run(asked, Context("cpu", progress=halfway, stop=stop))
    assert (tmp_path / "run" / work.MOTION).exists()
    stages: list[str] = []
    told = work.object_run(asked, Context("cpu", progress=lambda progress: stages.append(progress.stage)))
    assert told["prior"] == "revolve" and "following" not in stages and "bending" in stages
    assert not (tmp_path / "run" / work.MOTION).exists()
    with pytest.raises(RunDiffers):
        work.object_run(asked.model_copy(update={"prior": "inflate"}), Context("cpu"))


def test_a_solid_of_revolution_that_is_asked_for_and_hardly_one_is_told(film: Path) -> None:
    lame = read_subject(film / "0.png", SIDE, torch.device("cpu"), StageReporter("reading"))
    even = replace(lame, pictures=disc()[None])
    assert roundness(lame.pictures[0]) < ROUND < roundness(even.pictures[0])
    assert "silhouette could be" in choose("revolve", even, None).why
    assert "silhouette can hardly be" in choose("revolve", lame, None).why
    assert choose("auto", lame, None).prior == "inflate"


def test_a_method_that_needs_views_is_told_before_anything_is_read(film: Path, tmp_path: Path) -> None:
    asked = Object(source=str(film), out=str(tmp_path / "run"), method="optimise")
    stages: list[str] = []
    with pytest.raises(Legs4dError, match="needs views from other sides"):
        work.object_run(asked, Context("cpu", progress=lambda progress: stages.append(progress.stage)))
    assert not stages


def views(folder: Path, lens: object = SYNCDREAMER, elevation: float = 1.0) -> Path:
    folder.mkdir()
    cameras = SYNCDREAMER.pseudo(SIDE)
    for number, picture in enumerate(shown(block(), cameras)):
        Image.fromarray(picture).save(folder / f"0_0_{number}_rgba.png")
    return folder


def test_given_views_make_the_shape_and_the_video_the_motion(film: Path, tmp_path: Path) -> None:
    front = tmp_path / "thing_pose0"
    front.mkdir()
    for frame in range(4):
        picture = shown(moved(frame), SYNCDREAMER.cameras(0, 0, SIDE))[0]
        Image.fromarray(picture).save(front / f"{frame}.png")
    views(tmp_path / "thing_sync")
    told, run = made(front, tmp_path / "run")
    assert told["prior"] == "given" and run.info["report"]["centred"] is False
    assert middle(run, 3) - middle(run, 0) == pytest.approx(0.12, abs=0.08)
    wide = np.quantile(run.frame(0).means, [0.02, 0.98], axis=0)
    np.testing.assert_allclose(wide[1] - wide[0], (0.5, 0.67, 0.46), atol=0.15)


def test_views_that_do_not_fit_are_told(film: Path, tmp_path: Path) -> None:
    sync = views(tmp_path / "sync")
    (sync / "0_0_7_rgba.png").unlink()
    with pytest.raises(DatasetError, match="lacks view 7 of frame 0; give views 0 to 15 of every frame"):
        made(film, tmp_path / "run", views=str(sync))
    Image.fromarray(np.zeros((32, 32, 4), np.uint8)).save(sync / "0_0_7_rgba.png")
    with pytest.raises(DatasetError, match=r"0_0_7_rgba.png: is 32×32 pixels with 4 channels; give all views as"):
        made(film, tmp_path / "run", views=str(sync))
    with pytest.raises(DatasetError, match="holds 4 pictures and no cameras, and predicted views are 16 a moment"):
        made(film, tmp_path / "run", views=str(film))
    with pytest.raises(Legs4dError, match="needs the run of a known object"):
        made(film, tmp_path / "run", prior="static")


@pytest.mark.parametrize(("name", "lens"), [("syncdreamer", SYNCDREAMER), ("4dgen", FOURDGEN)])
def test_views_in_another_order_or_from_below_are_told(film: Path, tmp_path: Path, name: str, lens: Lens) -> None:
    azimuths = np.array(PSEUDO_AZIMUTHS)
    wrong = {
        "in the reverse order: azimuths have to grow": (PSEUDO_ELEVATION, -azimuths),
        "as if seen from 30° below: the sign of the elevation": (-PSEUDO_ELEVATION, azimuths),
        "as if seen from 30° below in the reverse order: the signs": (-PSEUDO_ELEVATION, -azimuths),
        "in the order of their names as text: 10 stands behind 1": (PSEUDO_ELEVATION, azimuths[AS_TEXT]),
    }
    for number, (what, (elevation, turned)) in enumerate(wrong.items()):
        folder = tmp_path / f"views{number}"
        folder.mkdir()
        for view, picture in enumerate(shown(block(), lens.cameras(elevation, turned, SIDE))):
            Image.fromarray(picture).save(folder / f"0_0_{view}_rgba.png")
        with pytest.raises(DatasetError, match=rf"go together {what}.*; or take them as they are, by --trust-views"):
            made(film, tmp_path / "run", views=str(folder), lens=name)
    told, _ = made(film, tmp_path / "run", views=str(folder), lens=name, trust_views=True)
    assert told["prior"] == "given"


def around(paint: bool, elevation: float, azimuths: np.ndarray) -> np.ndarray:
    """[16, S, S, 4] a ball, which every silhouette fits from everywhere, of one colour or with a side of another."""
    chance = np.random.default_rng(0)
    places = chance.normal(size=(1500, 3))
    places *= 0.35 / np.linalg.norm(places, axis=1, keepdims=True)
    colors = np.full((1500, 3), 0.5, np.float32)
    if paint:
        colors[(places[:, 0] > 0.1) & (places[:, 1] > 0)] = (0.9, 0.1, 0.1)
    ball = Gaussians(
        places.astype(np.float32),
        np.tile(np.array([1, 0, 0, 0], np.float32), (1500, 1)),
        np.full((1500, 3), 0.02, np.float32),
        np.full(1500, 0.99, np.float32),
        dc_from_rgb(colors),
        np.ones(1500, np.bool_),
    )
    rgba = shown(ball, SYNCDREAMER.cameras(elevation, azimuths, SIDE)).astype(np.float32)
    return np.concatenate([rgba[..., :3] * rgba[..., 3:] / 255, rgba[..., 3:]], axis=-1).astype(np.uint8)


def test_colours_tell_the_order_of_views_where_silhouettes_do_not(tmp_path: Path) -> None:
    azimuths = np.array(PSEUDO_AZIMUTHS)
    with pytest.raises(DatasetError, match="go together in the reverse order"):
        check_orders(around(True, PSEUDO_ELEVATION, -azimuths), SYNCDREAMER, tmp_path)
    assert not check_orders(around(True, PSEUDO_ELEVATION, azimuths), SYNCDREAMER, tmp_path)
    for turned in (azimuths, -azimuths):  # in which order a plain ball's stand makes no difference
        check_orders(around(False, PSEUDO_ELEVATION, turned), SYNCDREAMER, tmp_path)


def test_views_that_begin_at_another_side_than_the_video_are_told(tmp_path: Path) -> None:
    views = around(True, PSEUDO_ELEVATION, np.array(PSEUDO_AZIMUTHS))
    front = around(True, 0, np.array([0.0]))[0]
    check_start(views, front, SYNCDREAMER, tmp_path)
    turned = np.roll(views, -4, axis=0)  # view 0 is what stood at 90°
    with pytest.raises(DatasetError, match="as if view 0 stood at azimuth 90°; number the views from the video's side"):
        check_start(turned, front, SYNCDREAMER, tmp_path)


def test_views_of_other_moments_than_the_videos_are_told(film: Path, tmp_path: Path) -> None:
    sync = views(tmp_path / "sync")
    for file in list(sync.iterdir()):
        (sync / f"1{file.name[1:]}").write_bytes(file.read_bytes())
    for method in ("roads", "optimise"):
        with pytest.raises(DatasetError, match="there are views of 2 frames, and the video has 4; give views of every"):
            made(film, tmp_path / "run", views=str(sync), method=method)
    with pytest.raises(Legs4dError, match=r"--method optimise: needs views from other sides; give sixteen a moment by"):
        made(film, tmp_path / "run", method="optimise")


def test_views_of_the_first_frame_alone_move_with_the_video_by_optimisation(film: Path, tmp_path: Path) -> None:
    """Those with cameras of their own, about which the video's is looked for; repeated, they would say it is still."""
    rig = FOURDGEN.cameras(PSEUDO_ELEVATION, PSEUDO_AZIMUTHS[::2], SIDE)
    told = []
    for number, picture in enumerate(shown(block(), rig)):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
        pose = np.linalg.inv(rig.world_to_camera[number].astype(np.float64)) @ np.diag([1.0, -1, -1, 1])
        told.append({"file_path": f"./{number}", "transform_matrix": pose.tolist(), "time": 0.0})
    footage = {"camera_angle_x": float(np.radians(FOURDGEN.angle)), "frames": told}
    (tmp_path / "transforms_train.json").write_text(json.dumps(footage))
    how = replace(QUICK, static=60, coarse=40, fine=80, points=400, most=600, pace=8)
    sizes = replace(work.Sizes.of(torch.device("cpu")), optimise=how)
    asked = Object(source=str(film), out=str(tmp_path / "run"), views=str(tmp_path), method="optimise")
    answer = work.object_run(asked, Context("cpu"), sizes=sizes)
    run = Run.open(tmp_path / "run")
    assert answer["method"] == "optimise" and any("views have cameras of their own" in w for w in answer["warnings"])
    assert any("LPIPS is left out: a preview" in w for w in answer["warnings"])
    assert middle(run, 3) - middle(run, 0) == pytest.approx(0.12, abs=0.06)
    assert not any((tmp_path / "run" / name).exists() for name in (work.SHAPE, work.MOTION, work.OPTIMISED))


@pytest.mark.long
def test_a_known_run_moves_as_the_video_shows(film: Path, tmp_path: Path) -> None:
    known = Run.create(tmp_path / "known")
    thing = block()
    with known.lock():
        known.begin_stage("import", "imported from nowhere")
        known.write_geometry(thing, thing.take(slice(0)), 1)
        known.set_info(up=[0, 1, 0])
        known.finish_stage("import")
    told, run = made(film, tmp_path / "run", views=str(tmp_path / "known"))
    assert told["prior"] == "static" and run.num_gaussians == len(thing)
    assert middle(run, 3) - middle(run, 0) == pytest.approx(0.12, abs=0.08)


def test_words_need_a_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path / "none"))
    with pytest.raises(Legs4dError, match=r"no helper that makes a picture is there; put .*stable-diffusion-xl"):
        made(Path("a red vase"), tmp_path / "run")


def test_a_picture_moves_by_a_helper_alone(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path / "none"))
    with pytest.raises(Legs4dError, match=r"no helper that makes a video is there; put .*stable-video-diffusion"):
        made(film / "0.png", tmp_path / "run", prompt="it jumps")
