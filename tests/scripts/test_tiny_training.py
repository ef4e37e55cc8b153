"""The tiny encoder's captions, nets, training and questions, at sizes for a CPU."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training.synthetic.schema import ACTIONS, COLORS, FALSE, OBJECTS, TRUE, Clips, Facts, Shown
from training.synthetic.words.abilities import PAIRS
from training.synthetic.words.captions import Bank, Habits, draw, labels
from training.synthetic.words.holdout import HELD_OUT_ACTIONS
from training.synthetic.words.phrases import make_bank
from training.synthetic.words.vocabulary import vocabulary_text
from training.synthetic.words.wordings import VERBS, is_held_out
from training.tiny.evaluation import among_actions, forwards_or_backwards, plain_captions, score
from training.tiny.muon import Muon, orthogonal
from training.tiny.nets import read_by_length, standardise
from training.tiny.pool import Pool, windows
from training.tiny.training import STATE, WEIGHTS, Settings, Training

from legs4d.language.embedding import pyramid
from legs4d.language.encoders.clip_text import ClipText
from legs4d.language.encoders.tiny import model as nets
from legs4d.language.encoders.tiny.model import TinyModel
from legs4d.language.encoders.tiny.sizes import TEXT_HEADS
from legs4d.language.encoders.tiny.words import WORDS_FILE, known_words

SCRIPT = Path(__file__).parents[2] / "scripts" / "training" / "tiny" / "train.py"
COMMITTED = WORDS_FILE.with_name("tiny.safetensors")
SQUARE_ACTIONS = ("still", "fly", "fall", "rise")
PLAIN = {"still": "still", "fly": "flying", "fall": "falling", "rise": "rising"}


class Squares:
    """Boxes that stay, fly, fall or rise before a plain wall, in a colour each."""

    def __init__(self) -> None:
        self.calls = 0

    def clips(self, count: int) -> Clips:
        random = torch.Generator().manual_seed(self.calls)
        self.calls += 1
        kind = torch.randint(len(SQUARE_ACTIONS), (count,), generator=random)
        red = torch.rand(count, generator=random) < 0.5
        speed = torch.tensor([[0, 0], [5, 0], [0, 5], [0, -5]])[kind]
        middle = 32 + speed[:, None] * (torch.arange(8) - 4)[None, :, None]
        y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
        inside = ((x - middle[..., 0, None, None]).abs() < 9) & ((y - middle[..., 1, None, None]).abs() < 9)
        color = torch.where(red[:, None], torch.tensor([220, 30, 30]), torch.tensor([30, 60, 220]))
        frames = torch.where(inside[:, :, None], color[:, None, :, None, None], 120).to(torch.uint8)
        named = torch.where(red, 1 << COLORS.index("red"), 1 << COLORS.index("blue"))
        action = torch.tensor([ACTIONS.index(name) for name in SQUARE_ACTIONS])[kind]
        return Clips(frames, _facts([OBJECTS.index("box")] * count, named.tolist(), action.tolist()))


def _facts(objects: list[int], colors: list[int], actions: list[int], others: list[int] | None = None) -> Facts:
    with_ = others or [-1] * len(objects)
    o, c, a, x = (torch.tensor(values)[:, None] for values in (objects, colors, actions, with_))
    return Facts(o, c, a, x, torch.full_like(o, Shown.YES), torch.ones_like(o, dtype=torch.bool))


@pytest.fixture(scope="module")
def bank() -> Bank:
    return make_bank(known_words(), seed=0, rows=6)


def test_the_vocabulary_is_what_captions_are_made_of() -> None:
    assert WORDS_FILE.read_text() == vocabulary_text(), "run scripts/training/synthetic/words/vocabulary.py"
    assert len(known_words().words) <= 2000


def test_words_are_read_in_any_case_and_without_articles() -> None:
    words = known_words()
    one, other = words.encode(["A Man's ball, in mid-air!", "man ball in mid air"])
    assert np.array_equal(one, other)
    assert words.decode(one) == "man ball in mid air"
    assert one.max() == words.end and one.argmax() == 5


def test_words_that_are_not_known_are_told() -> None:
    words = known_words()
    assert words.unknown("a gyroscope spinning near a gyroscope and a ball") == ["gyroscope", "near"]
    assert words.decode(words.encode(["gyroscope spinning"])[0]) == "? spinning"


def test_captions_are_true_of_what_they_are_drawn_for(bank: Bank) -> None:
    """Of one entity for every object and action that go together, among them what is done with others."""
    pairs = sorted(PAIRS)
    facts = _facts(
        [OBJECTS.index(name) for name, _ in pairs],
        [1 << i % len(COLORS) for i in range(len(pairs))],
        [ACTIONS.index(action) for _, action in pairs],
        [i % len(OBJECTS) for i in range(len(pairs))],
    )
    captions = draw(bank, facts, Habits(), torch.Generator().manual_seed(1), true=2, twisted=0)
    truth = labels(facts, captions)
    own = torch.arange(len(pairs)).repeat_interleave(2)
    assert (truth[own, torch.arange(len(own))] == TRUE).all()
    assert (truth == FALSE).float().mean() > 0.8


def test_colors_and_others_are_claimed_where_they_are_named(bank: Bank) -> None:
    words = known_words()
    facts = _facts(
        [OBJECTS.index("man")] * 200, [1 << COLORS.index("green")] * 200, [ACTIONS.index("throw")] * 200, [5] * 200
    )
    captions = draw(bank, facts, Habits(), torch.Generator().manual_seed(0), true=1, twisted=0)
    for tokens, colors, others in zip(
        captions.tokens[:200], captions.claims.colors, captions.claims.others, strict=False
    ):
        text = words.decode(tokens.numpy())
        assert ("green" in text) == (colors > 0)
        assert any(name in text for name in ("ball", "orb", "sphere")) == (others > 0), text


def test_twisted_captions_name_nothing_that_is_held_out(bank: Bank) -> None:
    for name, action in HELD_OUT_ACTIONS:
        assert bank.does[OBJECTS.index(name), ACTIONS.index(action)] == 0
    assert bank.does.any(dim=0).all() and bank.does.any(dim=1).all()


def test_held_out_wordings_leave_every_verb_to_training() -> None:
    nouns = ("ball", "man", "box", "robot", "dog")
    for verb in VERBS:
        for forms in verb.words:
            assert not all(is_held_out(noun, forms) for noun in nouns)


def test_a_bank_of_held_out_wordings_has_no_others() -> None:
    words = known_words()
    held_out = make_bank(words, seed=0, rows=1, held_out=True)
    pages = {tuple(row) for row in held_out.rows[held_out.page[:, : len(ACTIONS)].flatten().clamp(min=0), 0].tolist()}
    usual = {tuple(row) for row in make_bank(words, seed=0, rows=1).rows[:, 0].tolist()}
    assert (held_out.page[OBJECTS.index("ball"), ACTIONS.index("fly")] >= 0).all()
    assert len(pages & usual) < 0.02 * len(pages)  # sentences in which "{x}" was the verb's may agree


def test_phrases_are_read_alike_with_and_without_torch() -> None:
    torch.manual_seed(0)
    words = known_words()
    net = TinyModel(words.count).text.eval()
    phrases = ["a ball", "a red ball flying through the air", "an unheard-of phrase", "a man throwing a ball"]
    tokens = words.encode(phrases)
    with torch.inference_mode():
        expected = net(torch.from_numpy(tokens)).numpy()
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    found = ClipText(weights, TEXT_HEADS).features(tokens)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def _settings(steps: int) -> Settings:
    return Settings(steps=steps, batch=8, pool=16, chunk=8, reuse=2, rows=2, rate=2e-3, ema=0.9)


def _shallow(patch: pytest.MonkeyPatch) -> None:
    """Nets of a layer each: steps take a third of the time."""
    patch.setattr(nets, "WINDOW_LAYERS", 1)
    patch.setattr(nets, "TEXT_LAYERS", 1)


def test_training_lowers_the_loss_and_goes_on_as_if_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shallow(monkeypatch)
    device = torch.device("cpu")
    whole = Training(_settings(6), Squares(), device, tmp_path / "whole")
    whole.LOG_EVERY = 1
    whole.run()
    part = Training(_settings(6), Squares(), device, tmp_path / "parts")
    part.run(stop=lambda: part.step == 3)
    assert (tmp_path / "parts" / STATE).exists()
    again = Training(_settings(6), Squares(), device, tmp_path / "parts")
    assert again.step == 3
    again.run()
    found, expected = (load_file(tmp_path / name / WEIGHTS) for name in ("parts", "whole"))
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    losses = [
        float(line.split('"loss": ')[1].split(",")[0])
        for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()
    ]
    assert len(losses) == 6 and np.mean(losses[-3:]) < 0.7 * np.mean(losses[:2])


def _run_together(processes: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A script and its arguments, as torchrun starts them."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), *map(str, arguments)]
    paths = os.pathsep.join([str(SCRIPT.parents[2]), str(Path(__file__).parent)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.long
def test_processes_train_one_model_on_clips_of_their_own(tmp_path: Path) -> None:
    """Two of them, and one alone is told that there were two."""
    sizes = [f"--{name}=2" for name in ("batch", "chunk", "pool", "rows", "reuse", "steps")]
    done = _run_together(2, SCRIPT, tmp_path, "--device=cpu", "--samples=16", *sizes)
    assert done.returncode == 0, done.stderr
    state = torch.load(tmp_path / STATE, weights_only=True)
    assert state["step"] == 2 and len(state["random"]) == 2
    assert not torch.equal(state["random"][0], state["random"][1])
    one = Pool(Squares(), 4, 2, first=1, every=2)
    one.add()
    one.add()
    numbers = Squares()
    made = [numbers.clips(2) for _ in range(4)]
    assert one._frames is not None
    assert torch.equal(one._frames, torch.cat([made[1].frames, made[3].frames]))
    alone = _run_together(1, SCRIPT, tmp_path, "--device=cpu", *sizes)
    assert alone.returncode != 0 and "by 2 processes" in alone.stderr


TOGETHER = """
import sys, pytest, torch
from pathlib import Path
from training.tiny.group import Group
from training.tiny.training import Training
from test_tiny_training import Squares, _settings, _shallow

_shallow(pytest.MonkeyPatch())
group, device = Group.join(torch.device("cpu"))

# Gradients are means of all processes.
parts = [torch.full((2, 3), float(group.rank)), torch.tensor([4.0 * group.rank])]
group.average(parts)
assert (parts[0] == 0.5).all() and parts[1] == 2
assert group.same(torch.tensor(group.rank)) == 0
assert [int(n) for n in group.gather(torch.tensor(group.rank))] == [0, 1]

for name, stop_at, step in (("whole", 0, 3), ("parts", 1, 1), ("parts", 0, 3)):
    training = Training(_settings(3), Squares(), device, Path(sys.argv[1]) / name, group)
    training.LOG_EVERY = 1
    training.run(stop=lambda: group.rank == 1 and training.step == stop_at)
    assert training.step == step
    sums = group.gather(sum(value.detach().double().sum() for value in training.model.parameters()))
    assert sums[0] == sums[1], "the processes' weights differ"
group.leave()
"""


@pytest.mark.long
def test_processes_share_gradients_and_go_on_after_one_was_stopped_as_if_it_never_was(tmp_path: Path) -> None:
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    done = _run_together(2, script, tmp_path)
    assert done.returncode == 0, done.stderr
    found, expected = (load_file(tmp_path / name / WEIGHTS) for name in ("parts", "whole"))
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_muon_steps_as_torchs_does() -> None:
    torch.manual_seed(0)
    own = [torch.nn.Parameter(torch.randn(shape)) for shape in ((8, 8), (24, 8), (8, 24), (24, 8), (6, 16))]
    others = [torch.nn.Parameter(value.detach().clone()) for value in own]
    groups = [{"params": values, "lr": 0.02, "weight_decay": 0.1} for values in (own, others)]
    optimisers = Muon([groups[0]], dtype=torch.bfloat16), torch.optim.Muon([groups[1]], adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for a, b in zip(own, others, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(own, others, strict=True))
    wide = torch.randn(3, 8, 24)
    exact, rounded = orthogonal(wide, torch.float32), orthogonal(wide, torch.bfloat16)
    assert (exact - rounded).norm() < 0.02 * exact.norm()  # bfloat16 keeps 8 bits
    flat = torch.nn.Parameter(torch.randn(6, 18))
    convolution = torch.nn.Parameter(flat.detach().clone().view(6, 2, 3, 3))
    flat.grad = torch.randn(6, 18)
    convolution.grad = flat.grad.view(6, 2, 3, 3)
    Muon([{"params": [flat, convolution]}]).step()
    assert torch.equal(convolution.view(6, 18), flat)


def test_captions_are_read_alike_whatever_their_length() -> None:
    torch.manual_seed(0)
    words, model = known_words(), TinyModel(known_words().count)
    phrases = ["a ball", "a red ball that is flying", "a man in a blue shirt throwing a big red rubber ball again"]
    tokens = torch.from_numpy(words.encode([phrases[0]] * 9 + [phrases[2]] + [phrases[1]] * 10)).short()
    with torch.inference_mode():
        assert torch.allclose(read_by_length(model, tokens, words.end), model.read(tokens), atol=1e-5)
        crowded = torch.from_numpy(words.encode([phrases[2]] * 20)).short()
        cut = model.read(torch.from_numpy(words.encode(["man in blue shirt throwing big"])))
        assert (read_by_length(model, crowded, words.end) @ cut[0] > 1 - 1e-5).sum() == 17


def test_convolutions_are_trained_with_a_length_and_kept_as_they_come_out() -> None:
    torch.manual_seed(0)
    model = TinyModel(known_words().count)
    frames = torch.randn(4, 3, 64, 64)
    convolutions = [conv for conv in model.frame.convs if isinstance(conv, torch.nn.Conv2d)]
    with torch.no_grad():
        for conv in convolutions:
            conv.weight -= conv.weight.mean(dim=(1, 2, 3), keepdim=True)
        before = model.frame(frames)
        standardise(model)
        assert torch.allclose(model.frame(frames), before, atol=1e-4)
        for name, value in model.named_parameters():
            if name.endswith("original"):
                value.mul_(7).add_(3)
        assert torch.allclose(model.frame(frames), before, atol=1e-3)


def test_windows_are_as_the_pyramid_has_them_at_a_videos_ends() -> None:
    random = torch.Generator().manual_seed(0)
    found = {tuple(row) for row in windows(4096, random, torch.device("cpu")).tolist()}
    # Frames 0 to 7 of a clip whose timestep is frame 4 of them, in videos that begin or end around it.
    expected = {tuple(range(8))}
    for first in range(1, 5):  # the video's frame 0 is the clip's frame `first`
        expected.add(tuple(first + frame for frame in pyramid.window(4 - first, 8 - first)))
    for frames in range(5, 8):
        expected.add(tuple(pyramid.window(4, frames)))
    assert found == expected


def test_questions_have_one_right_answer_and_a_random_model_guesses() -> None:
    torch.manual_seed(0)
    words, clips = known_words(), Squares().clips(24)
    random = torch.Generator().manual_seed(0)
    plain = plain_captions(words, torch.device("cpu"))
    chosen = torch.ones(24, 1, dtype=torch.bool)
    actions = among_actions(clips, chosen, plain, random)
    assert actions.tokens.shape[1] == 20 and len(actions) == 24
    for tokens, action in zip(actions.tokens, actions.action, strict=True):
        assert len({tuple(row) for row in tokens.tolist()}) == 20
        assert words.decode(tokens[0].numpy()) == f"box {PLAIN[ACTIONS[action]]}"
    pairs = forwards_or_backwards(clips, chosen, plain, random)
    half = len(pairs) // 2
    assert torch.equal(pairs.frames[half:].flip(1), pairs.frames[:half])
    assert torch.equal(pairs.tokens[half:, 0], pairs.tokens[:half, 1])
    found = score(TinyModel(words.count).eval(), pairs, random)
    assert found.chance == 0.5 and found.questions == 2 * half


def test_committed_weights_are_small_enough_and_fit_the_nets() -> None:
    weights = load_file(COMMITTED)
    model = TinyModel(known_words().count)
    model.load_state_dict(weights)
    assert COMMITTED.stat().st_size <= 15_000_000
    assert sum(value.numel() for value in model.parameters()) <= 7_000_000
    assert all(value.dtype == torch.float16 for value in weights.values())
