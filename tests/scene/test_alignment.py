"""When videos were begun is found from what they have in common, and not claimed where they have nothing."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from legs4d.config import DatasetSettings
from legs4d.context import Context
from legs4d.errors import DatasetError
from legs4d.progress import Progress, StageReporter, Stopped
from legs4d.scene.movies.alignment import SURE, Curve, compare, correlate, find_offsets
from legs4d.scene.movies.movie import Movie
from legs4d.scene.readers import open_sequence

RATE = 16_000
WIDTH, HEIGHT = 96, 64
REPORTER = StageReporter("align")


def claps(rng: np.random.Generator, seconds: float = 10) -> NDArray[np.float64]:
    """[samples] bursts of noise, two a second on average, at uneven times."""
    sound = np.zeros(int(seconds * RATE))
    for at in np.arange(0, seconds - 0.5, 0.5) + rng.uniform(0, 0.4, int(2 * seconds) - 1):
        burst = rng.normal(size=RATE // 20) * np.hanning(RATE // 10)[RATE // 20 :]
        sound[int(at * RATE) :][: len(burst)] += rng.uniform(0.3, 1) * burst
    return sound


def heard(rng: np.random.Generator, sound: NDArray[np.float64], begin: float, seconds: float) -> NDArray[np.float32]:
    """What a microphone in a room that echoes makes of it, with noise."""
    echo = rng.normal(size=1500) * np.exp(-np.arange(1500) / 300)
    echo[0] = 3
    part = np.convolve(sound[int(begin * RATE) : int((begin + seconds) * RATE)], echo, mode="full")
    part = part[: int(seconds * RATE)] / np.abs(part).max()
    return (0.5 * part + rng.normal(size=len(part)) * 0.02).astype(np.float32)


def walk(rng: np.random.Generator, seconds: float = 8) -> NDArray[np.float64]:
    """[240 a second, 2] where something is that goes and stops."""
    speed = np.zeros((int(240 * seconds), 2))
    at = 0
    while at < len(speed):
        length = int(240 * rng.uniform(0.15, 0.7))
        speed[at : at + length] = rng.normal(size=2) * rng.choice([0, 0.5, 1.2])
        at += length
    place = speed.cumsum(axis=0) / 240
    return place - place.mean(axis=0)


def film(
    path: Path,
    rng: np.random.Generator,
    place: NDArray[np.float64],
    begin: float,
    *,
    sound: NDArray[np.float32] | None = None,
    fps: int = 30,
    seconds: float = 3,
) -> Path:
    """A spot that walks before a still room, seen from some side, with this sound."""
    room = rng.integers(40, 120, (8, 12, 3)).repeat(8, 0).repeat(8, 1)
    angle = rng.uniform(-0.6, 0.6)
    side = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * 30
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = None if sound is None else container.add_stream("aac", rate=RATE, layout="mono")
        for number in range(int(seconds * fps)):
            right, down = side @ place[int((begin + number / fps) * 240)]
            spot = np.exp(-((x - WIDTH / 2 - right) ** 2 + (y - HEIGHT / 2 - down) ** 2) / 60)[..., None]
            shown = room * (1 - spot) + np.array([240, 200, 60]) * spot + rng.normal(size=room.shape)
            frame = av.VideoFrame.from_ndarray(shown.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None and sound is not None:
            samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = RATE, 0, Fraction(1, RATE)
            container.mux(audio.encode(samples))
            container.mux(audio.encode(None))
    return path


BEGINS = (0.2, 1.13, 0.61)
SECONDS = 3.0


def films(folder: Path, *, seed: int = 0, with_sound: bool = True, **how: float) -> list[Path]:
    """One scene filmed by three cameras, begun at `BEGINS`."""
    rng = np.random.default_rng(seed)
    place, sound = walk(rng), claps(rng)
    return [
        film(
            folder / f"cam{i}.mp4",
            rng,
            place,
            begin,
            sound=heard(rng, sound, begin, SECONDS) if with_sound else None,
            fps=(30, 25, 50)[i],
            seconds=SECONDS,
        )
        for i, begin in enumerate(BEGINS)
    ]


@pytest.mark.parametrize(("how", "off"), [("sound", 0.012), ("motion", 0.02)])
def test_offsets_are_found(tmp_path: Path, how: str, off: float) -> None:
    movies = [Movie(path) for path in films(tmp_path)]
    found = find_offsets(movies, how, REPORTER)  # type: ignore[arg-type]
    truth = np.array(BEGINS) - BEGINS[0]
    assert np.abs(np.array([one.offset for one in found]) - truth).max() < off, found
    assert all(SURE[how] <= one.confidence <= 1 for one in found)


def test_what_has_nothing_in_common_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    paths = [
        film(tmp_path / f"cam{i}.mp4", rng, walk(rng), 0.1, sound=heard(rng, claps(rng), 0.1, SECONDS))
        for i in range(2)
    ]
    movies = [Movie(path) for path in paths]
    for how in ("sound", "motion"):
        with pytest.raises(DatasetError, match=rf"cam1\.mp4: when it was begun cannot be told by its {how}"):
            find_offsets(movies, how, REPORTER)


def test_a_beat_is_not_enough() -> None:
    """One that comes every second fits at every second."""
    level = np.tile(np.exp(-np.arange(200) / 10), 8)
    first, second = Curve(0, 0.005, level), Curve(0, 0.005, level[240:])
    assert compare(first, second, "sound").confidence < SURE["sound"]


def test_videos_without_sound_are_named(tmp_path: Path) -> None:
    movies = [Movie(path) for path in films(tmp_path, with_sound=False)]
    with pytest.raises(DatasetError, match=r"cam0\.mp4: has no sound; use --align motion, or --offset"):
        find_offsets(movies, "sound", REPORTER)


def test_looking_can_be_stopped_and_is_told(tmp_path: Path) -> None:
    movies = [Movie(path) for path in films(tmp_path)]
    told: list[Progress] = []

    class Stop:
        def is_set(self) -> bool:
            return len(told) > 0

    with pytest.raises(Stopped):
        find_offsets(movies, "motion", StageReporter("align", told.append, Stop()))
    assert told[0].stage == "align" and told[0].total == 3


def test_a_dataset_is_aligned_on_request_and_keeps_what_was_found(tmp_path: Path) -> None:
    films(tmp_path)
    pose = np.eye(4)
    cameras = []
    for i in range(3):
        pose[0, 3] = -0.3 * i
        k = [[90, 0, WIDTH / 2], [0, 90, HEIGHT / 2], [0, 0, 1]]
        cameras.append({"id": i, "video": f"cam{i}.mp4", "k": k, "w2c": pose.tolist()})
    (tmp_path / "cameras.json").write_text(json.dumps({"w": WIDTH, "h": HEIGHT, "cameras": cameras}))
    stages: list[str] = []
    found = open_sequence(tmp_path, DatasetSettings(align="sound"), Context(progress=lambda p: stages.append(p.stage)))
    assert {"videos", "align"} <= set(stages) and found.fps == 25
    truth = np.array(BEGINS) - BEGINS[0]
    assert found.reading.align is None
    np.testing.assert_allclose([found.reading.offsets[str(i)] for i in range(3)], truth, atol=0.012)
    assert any(
        "found by their sound, with these confidences: 0 +0.000 s (1.00), 1 +0.9" in note for note in found.notes
    )
    again = open_sequence(tmp_path, found.reading)
    assert again.fingerprint() == found.fingerprint() and again.num_frames == found.num_frames
    fixed = open_sequence(tmp_path, DatasetSettings(align="sound", offsets={"1": 10.0}))
    np.testing.assert_allclose([fixed.reading.offsets[str(i)] for i in range(3)], truth + 10 - truth[1], atol=0.012)


def test_correlation_counts_what_overlaps() -> None:
    rng = np.random.default_rng(0)
    both = rng.normal(size=300)
    correlation, share = correlate(both[:200], both[100:], 20)
    at = 199 + 100  # b's first is a's hundredth
    assert correlation.argmax() == at and correlation[at] == pytest.approx(1, abs=0.02)
    assert share[at] == pytest.approx(0.5, abs=0.1) and share[:19].max() == 0
