"""The demo's bookkeeping: what is done is skipped, what changed is redone, what misses its floor is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from demo import demo
from demo import sight as demo_sight
from PIL import Image


class Work:
    """A step that makes a file, or is interrupted."""

    def __init__(self, made: Path) -> None:
        self.made, self.runs, self.interrupted = made, 0, False

    def __call__(self) -> None:
        self.runs += 1
        if self.interrupted:
            raise KeyboardInterrupt
        self.made.parent.mkdir(parents=True, exist_ok=True)
        self.made.touch()


def capture(out: Path, work: Work, inputs: str = "a") -> None:
    demo.Demo(out)._step("capture", work, ["capture/done"], ["capture"], inputs)


def test_a_finished_step_is_skipped(tmp_path: Path) -> None:
    work = Work(tmp_path / "capture" / "done")
    capture(tmp_path, work)
    capture(tmp_path, work)
    assert work.runs == 1


def test_a_step_whose_result_is_gone_is_redone(tmp_path: Path) -> None:
    work = Work(tmp_path / "capture" / "done")
    capture(tmp_path, work)
    work.made.unlink()
    capture(tmp_path, work)
    assert work.runs == 2


def test_an_interrupted_step_goes_on_in_what_it_left(tmp_path: Path) -> None:
    work = Work(tmp_path / "capture" / "done")
    work.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        capture(tmp_path, work)
    (tmp_path / "capture").mkdir()
    (tmp_path / "capture" / "half").touch()
    work.interrupted = False
    capture(tmp_path, work)
    assert (tmp_path / "capture" / "half").exists()


def test_other_inputs_start_anew_and_so_does_what_follows(tmp_path: Path) -> None:
    first, second = Work(tmp_path / "capture" / "done"), Work(tmp_path / "run" / "done")
    for inputs in ("a", "b"):
        capture(tmp_path, first, inputs)
        demo.Demo(tmp_path)._step("train", second, ["run/done"], [], "same")
        (tmp_path / "capture" / "old").touch()
    assert (first.runs, second.runs) == (2, 2)
    capture(tmp_path, first, "c")
    assert not (tmp_path / "capture" / "old").exists()


def test_floors_are_checked() -> None:
    row = {"prompt": "a ball flying", "tiou": 0.9, "viou": 0.39}
    moving = {**demo.LEAST_ONE, "tiou": 0.0}
    missed = demo.shortfalls({"psnr_test": 25.9, "grounding": [row], "sight": [], "moving": moving})
    assert len(missed) == 3
    assert "25.90 dB" in missed[0]
    assert "viou of 'a ball flying'" in missed[1]
    assert "tiou of one moving camera is 0.00" in missed[2]


def test_what_is_seen_without_captions_has_floors_of_its_own() -> None:
    opens, others = "a door opening", demo_sight.PROMPTS["a door opening"].others
    seen = {"prompt": opens, "means": opens, "tiou": 0.7, "viou": 0.29}
    same = {"prompt": others[0], "means": opens, "tiou": 0.54, "viou": 0.1}
    shown = {"prompt": "a red ball in mid-air", "means": "a red ball in mid-air", "tiou": 0.0, "viou": 0.0}
    missed = demo.shortfalls(
        {"psnr_test": 30.0, "grounding": [], "sight": [seen, same, shown], "moving": demo.LEAST_ONE}
    )
    assert len(missed) == 2
    assert f"viou of '{opens}', seen without captions is 0.29" in missed[0]
    assert f"tiou of '{others[0]}', seen without captions is 0.16 from" in missed[1]


def test_prompts_without_captions_mean_what_the_captions_say(tmp_path: Path) -> None:
    said = list(dict.fromkeys(meant.caption for meant in demo_sight.PROMPTS.values()))
    objects = {str(i + 1): [{"start": i, "end": 2 * i, "caption": caption}] for i, caption in enumerate(said)}
    (tmp_path / "captions.json").write_text(json.dumps({"objects": objects}))
    acts = demo_sight.expected(tmp_path)
    assert acts["a wooden crate rotating"] == acts["a box spinning around"] == {"object": 1, "start": 0, "end": 0}
    assert acts["a door swings open"] == {"object": 2, "start": 1, "end": 2}


def test_truth_is_the_objects_mask_while_the_act_lasts(tmp_path: Path) -> None:
    (tmp_path / "test_meta.json").write_text('{"cam_id": [[7]]}')
    (tmp_path / "objects" / "7").mkdir(parents=True)
    ids = np.array([[0, 2], [1, 2]], np.uint8)
    for frame in range(3):
        Image.fromarray(ids).save(tmp_path / "objects" / "7" / f"{frame:06d}.png")
    demo.write_truth(tmp_path, {"a ball flying": {"object": 2, "start": 1, "end": 1}}, tmp_path / "truth")
    (written,) = (tmp_path / "truth").rglob("*.png")
    assert written == tmp_path / "truth" / "a_ball_flying" / "cam7" / "000001.png"
    np.testing.assert_array_equal(np.asarray(Image.open(written)) > 0, ids == 2)
