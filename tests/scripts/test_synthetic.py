"""The generator of training clips: what it draws, what it says of that, and what it never draws."""

import math

import pytest
import torch
from training.synthetic import cast as casting
from training.synthetic.dice import Dice
from training.synthetic.facts import reversed_facts
from training.synthetic.pictures import crops, looks
from training.synthetic.pictures.cameras import elevations
from training.synthetic.pictures.render import render_plainly
from training.synthetic.pictures.scene import NO_COLOR, SCENERY, Scene
from training.synthetic.scenes import Generator
from training.synthetic.schema import (
    ACTIONS,
    ALL_ACTIONS,
    ALL_OBJECTS,
    COLORS,
    FALSE,
    OBJECTS,
    TRUE,
    UNSURE,
    Claims,
    Facts,
    Shown,
    bits,
    truth,
)
from training.synthetic.skeleton import affine, inverted
from training.synthetic.stage import Director, to_tensors
from training.synthetic.words.abilities import DOES, PAIRS
from training.synthetic.words.holdout import HELD_OUT_ACTIONS, HELD_OUT_COLORS, HELD_OUT_ELEVATIONS, SPLITS, Split
from training.synthetic.world.objects import VARIANTS, library
from training.synthetic.world.primitives import Kind

CPU = torch.device("cpu")
TRAIN, HELD_OUT = False, True


@pytest.fixture(scope="module")
def generated():
    """Coarse clips of a generator and their facts."""
    return Generator(3, "cpu", samples=16).clips(32)


# What is drawn


def test_same_clips_for_same_seed_and_call():
    first, again = (Generator(5, "cpu", samples=16) for _ in range(2))
    earlier, later = first.clips(2), first.clips(2)
    again.calls = 1  # as after a training that goes on
    resumed = again.clips(2)
    assert torch.equal(later.frames, resumed.frames)
    assert torch.equal(later.facts.action, resumed.facts.action)
    assert not torch.equal(later.frames, earlier.frames)


def test_shapes_and_ranges(generated):
    assert generated.frames.shape == (32, 8, 3, 64, 64)
    assert generated.frames.dtype == torch.uint8
    facts = generated.facts
    there = facts.object >= 0
    assert there[:, 0].all()
    assert facts.object.max() < len(OBJECTS)
    assert facts.action.min() >= 0
    assert facts.action.max() < len(ACTIONS)
    assert facts.colors.max() < 1 << len(COLORS)
    assert set(facts.shown.unique().tolist()) <= {0, 1, 2}


def test_objects_do_what_they_can(generated):
    facts = generated.facts
    for thing, action in zip(facts.object[facts.clear].tolist(), facts.action[facts.clear].tolist(), strict=True):
        if thing >= 0:
            assert ACTIONS[action] in DOES[OBJECTS[thing]]


def test_training_never_draws_what_is_held_out_and_the_other_split_always_does():
    dice = Dice(1, CPU)
    trained, held_out = casting.draw(dice, 4000, TRAIN), casting.draw(dice, 1000, HELD_OUT)
    drawn = _pairs(trained.object, trained.action)
    assert not drawn & HELD_OUT_ACTIONS
    assert len(drawn & PAIRS) > 0.95 * len(PAIRS - HELD_OUT_ACTIONS)
    assert _pairs(held_out.object[:, :1], held_out.action[:, :1]) == HELD_OUT_ACTIONS
    everything = torch.arange(len(OBJECTS)).repeat(400)
    for wanted in (TRAIN, HELD_OUT):
        colors = looks.main_colors(dice, everything, torch.full(everything.shape, wanted))
        named = {(OBJECTS[t], COLORS[c]) for t, c in zip(everything.tolist(), colors.tolist(), strict=True)}
        assert named <= HELD_OUT_COLORS if wanted else not named & HELD_OUT_COLORS


def test_no_part_of_anything_has_a_color_that_is_held_out():
    dice = Dice(3, CPU)
    things = torch.arange(len(OBJECTS)).repeat(100)
    main = looks.main_colors(dice, things, torch.zeros(len(things), dtype=torch.bool))
    codes = looks.paint(dice, things, main, torch.ones(len(things), dtype=torch.bool)).codes
    parts = library()
    for thing, name in enumerate(OBJECTS):
        variants = slice(thing * VARIANTS, (thing + 1) * VARIANTS)
        slots = sorted({int(slot) for slot in parts.slot[variants][parts.kind[variants] > 0]})
        had = {COLORS[code] for code in codes[things == thing][:, slots].unique().tolist() if code != NO_COLOR}
        assert not {(name, color) for color in had} & HELD_OUT_COLORS


def test_cameras_of_held_out_heights():
    for wanted in (TRAIN, HELD_OUT):
        degrees = elevations(Dice(1, CPU), 3000, wanted)
        inside = torch.stack([(degrees >= low) & (degrees <= high) for low, high in HELD_OUT_ELEVATIONS]).any(0)
        assert inside.all() if wanted else not inside.any()


def test_splits():
    assert [Split.of(name) for name in SPLITS[:2]] == [Split(False, False, False), Split(True, True, True)]
    with pytest.raises(ValueError, match="no split is called 'test'"):
        Split.of("test")


def _pairs(objects, actions):
    there = objects >= 0
    drawn = zip(objects[there].tolist(), actions[there].tolist(), strict=True)
    return {(OBJECTS[thing], ACTIONS[action]) for thing, action in drawn}


# What is said of it


def test_what_is_shown_has_pixels_and_what_is_not_has_none(generated):
    """Nothing but noise changes in clips where nothing moves and nothing but what is still is shown."""
    facts = generated.facts
    there = facts.object >= 0
    steady = bits(("still", "held", "hold"), ACTIONS)
    moving = there & (facts.shown > Shown.NO) & ((((steady >> facts.action) & 1) == 0) | ~facts.clear)
    quiet = ~moving.any(1)
    changes = (generated.frames[:, 1:].float() - generated.frames[:, :-1].float()).flatten(2).abs().mean((1, 2))
    clear = (facts.clear & (facts.shown == Shown.YES) & (((steady >> facts.action) & 1) == 0)).any(1)
    assert quiet.sum() > 2
    assert clear.sum() > 5
    assert changes[quiet].median() < 0.5 * changes[clear].median()


def test_flying_things_move_and_still_ones_do_not():
    dice = Dice(4, CPU)
    cast = casting.draw(dice, 300, TRAIN, ("fly", "still", "rise", "fall"))
    stage = Director(dice, cast, to_tensors(CPU)).perform()
    place = stage.root[..., :8, :, 3]
    steps = (place[:, 1:] - place[:, :-1]).norm(dim=-1) / stage.size[:, None]
    people = torch.isin(stage.object, torch.tensor([OBJECTS.index(name) for name in ("man", "woman", "robot")]))
    there = (stage.object >= 0) & ~people  # people fall over on the spot
    for name, moves in (("fly", True), ("rise", True), ("fall", True), ("still", False)):
        same = (stage.action[:, :8] == ACTIONS.index(name)).all(1) & there
        assert same.sum() > 10
        assert ((steps[same] > 0.01) == moves).float().mean() > 0.98
    falling = (stage.action[:, :8] == ACTIONS.index("fall")).all(1) & there
    drop = place[:, 1:, 2] - place[:, :-1, 2]
    assert (drop[falling] < 0).all()
    assert (drop[(stage.action[:, :8] == ACTIONS.index("rise")).all(1) & there] > 0).all()


def test_thrown_things_are_in_the_hands_until_they_fly():
    dice = Dice(9, CPU)
    stage = Director(dice, casting.draw(dice, 60, TRAIN, ("throw",)), to_tensors(CPU)).perform()
    people, things = slice(0, None, casting.ENTITIES), slice(1, None, casting.ENTITIES)
    apart = (stage.root[people, :8, :, 3] - stage.root[things, :8, :, 3]).norm(dim=-1) / stage.size[people, None]
    held, flies = (stage.action[things, :8] == ACTIONS.index(name) for name in ("held", "fly"))
    assert apart[held].max() < 1.4
    assert (stage.other[things, :8][held] == stage.object[people, None].expand(-1, 8)[held]).all()
    assert (stage.other[things, :8][flies] == -1).all()
    after = flies[:, 1:] & flies[:, :-1]
    assert ((apart[:, 1:] - apart[:, :-1])[after] > 0).float().mean() > 0.9


def test_backwards_clips_say_the_opposite():
    there, back = Generator(8, "cpu", samples=16).there_and_back(24, ("open", "fall", "grow"))
    assert len(there.frames) > 5
    assert torch.equal(there.frames, back.frames.flip(1))
    opposite = {"open": "close", "fall": "rise", "grow": "shrink"}
    for before, after in zip(there.facts.action[:, 0].tolist(), back.facts.action[:, 0].tolist(), strict=True):
        assert opposite[ACTIONS[before]] == ACTIONS[after]


def test_nobody_walks_backwards():
    facts = _facts([("man", (), "walk", -1, Shown.YES, True), ("ball", (), "fly", -1, Shown.YES, True)])
    assert reversed_facts(facts).clear.tolist() == [[False, True]]


# When phrases are true of it


def _facts(*clips):
    """Of clips given as lists of (object, colours, action, other, shown, clear)."""
    columns = zip(*(zip(*clip, strict=True) for clip in clips), strict=True)
    things, colors, actions, others, shown, clear = ([list(row) for row in column] for column in columns)
    return Facts(
        torch.tensor([[OBJECTS.index(x) if x else -1 for x in row] for row in things]),
        torch.tensor([[bits(x, COLORS) for x in row] for row in colors]),
        torch.tensor([[ACTIONS.index(x) for x in row] for row in actions]),
        torch.tensor([[x if isinstance(x, int) else OBJECTS.index(x) for x in row] for row in others]),
        torch.tensor([[int(x) for x in row] for row in shown]),
        torch.tensor(clear),
    )


def _claim(thing=None, color=(), action=None, other=(), nothing=False):
    return Claims(
        torch.tensor([bits((thing,), OBJECTS) if thing else ALL_OBJECTS]),
        torch.tensor([bits(color, COLORS)]),
        torch.tensor([bits((action,), ACTIONS) if action else ALL_ACTIONS]),
        torch.tensor([bits(other, OBJECTS)]),
        torch.tensor([nothing]),
    )


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (_claim("ball"), TRUE),
        (_claim("ball", ("red",)), TRUE),
        (_claim("ball", ("red", "white")), TRUE),
        (_claim("ball", ("red", "blue")), FALSE),
        (_claim("ball", action="held"), TRUE),
        (_claim("ball", action="fly"), FALSE),
        (_claim(action="held"), TRUE),
        (_claim("ball", action="held", other=("man",)), FALSE),
        (_claim("ball", action="held", other=("woman",)), TRUE),
        (_claim("woman"), UNSURE),  # she is partly shown
        (_claim("woman", action="hold"), UNSURE),
        (_claim("box"), TRUE),
        (_claim("box", action="spin"), UNSURE),  # what it does is not clear
        (_claim("man"), FALSE),
        (_claim(nothing=True), FALSE),
    ],
)
def test_truth_of_phrases(claim, expected):
    facts = _facts(
        [
            ("ball", ("red", "white"), "held", "woman", Shown.YES, True),
            ("woman", ("blue",), "hold", "ball", Shown.PARTLY, True),
            ("box", ("green",), "spin", -1, Shown.YES, False),
            (None, (), "still", -1, Shown.NO, True),
        ]
    )
    assert truth(facts, claim).tolist() == [[expected]]


def test_truth_of_nothing():
    facts = _facts([("ball", (), "fly", -1, Shown.NO, True)], [("ball", (), "fly", -1, Shown.PARTLY, True)])
    assert truth(facts, _claim(nothing=True)).flatten().tolist() == [TRUE, UNSURE]


# How it is drawn


def _scene(kind, transforms, sun=(0.0, 0.0, 1.0), frustum=(1.0, 0.0)):
    """White things seen from 10 m along −x: a crop spans 4 m where they are, y from right to left."""
    count = len(transforms)
    inverse = inverted(torch.stack(transforms))[None, None]
    ones = torch.ones(1, count)
    codes = torch.full((1, count, 3), NO_COLOR)
    vector = lambda *values: torch.tensor([values])  # noqa: E731
    return Scene(
        kind=torch.tensor([kind]),
        entity=torch.arange(count)[None],
        inverse=inverse,
        size=torch.ones(1, count, 3),
        frustum=torch.tensor(frustum).expand(1, count, 2),
        pattern=torch.zeros(1, count, dtype=torch.int64),
        frequency=ones,
        colors=torch.ones(1, count, 3, 3),
        codes=codes,
        grain=0 * ones,
        alpha=ones[:, None],
        eye=vector(-10.0, 0.0, 0.0),
        forward=vector(1.0, 0.0, 0.0),
        right=vector(0.0, -0.2, 0.0),
        up=vector(0.0, 0.0, 0.2),
        window=vector(-2.0, 2.0, -2.0, 2.0),
        sun=vector(*sun),
        sun_color=torch.ones(1, 3),
        sky_color=torch.full((1, 3), 0.1),
        horizon=torch.zeros(1, 3) + 0.01,
        zenith=torch.zeros(1, 3) + 0.01,
    )


def _at(x, y, z, *size):
    return affine(torch.diag(torch.tensor(size)), torch.tensor([x, y, z]))


def _owner(pictures):
    return pictures.codes[0, 0].long() // 16


def test_silhouette_of_a_ball():
    radius, distance, side = 1.0, 10.0, 128
    pictures = render_plainly(_scene([Kind.ELLIPSOID], [_at(0.0, 0.0, 0.0, radius, radius, radius)]), side)
    tangent = radius / math.sqrt(distance**2 - radius**2)  # of the cone that touches it
    expected = math.pi * (tangent / 0.2) ** 2 / 4
    assert (_owner(pictures) == 0).float().mean() == pytest.approx(expected, rel=0.01)


def test_silhouettes_of_a_box_and_a_tube():
    box = render_plainly(_scene([Kind.BOX], [_at(0.0, 0.5, 0.0, 0.5, 0.5, 1.0)]), 128)
    rows, columns = torch.nonzero(_owner(box) == 0).unbind(1)
    near = 1 / 9.5 / 0.2  # of a metre on its front side, half a crop
    assert rows.min() / 64 - 1 == pytest.approx(-near, abs=0.02)
    assert columns.min() / 64 - 1 == pytest.approx(-near, abs=0.02)
    assert columns.max() / 64 - 1 == pytest.approx(0.0, abs=0.02)
    # A ring that lies across the view: one sees through it.
    along_x = affine(torch.tensor([[0.0, 0.0, 0.1], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), torch.zeros(3))
    ring = render_plainly(_scene([Kind.FRUSTUM], [along_x], frustum=(1.0, 0.5)), 128)
    scale = (1 / 9.9 / 0.2) ** 2
    inner = (1 / 10.1 / 0.2 * 0.5) ** 2
    assert (_owner(ring) == 0).float().mean() == pytest.approx(math.pi * (scale - inner) / 4, rel=0.03)
    assert _owner(ring)[64, 64] == SCENERY


def test_the_nearer_one_hides_the_other():
    transforms = [_at(1.0, 0.0, 0.0, 0.8, 0.8, 0.8), _at(-2.0, 0.0, 0.0, 0.3, 0.3, 0.3)]
    owner = _owner(render_plainly(_scene([Kind.ELLIPSOID, Kind.BOX], transforms), 64))
    assert owner[32, 32] == 1
    assert owner[32, 32 + 10] == 0


def test_shadow_falls_where_the_sun_says():
    """Of a small ball on a wall 2 m behind it, with the sun behind the camera and to the left: to the right of it."""
    wall, ball = _at(2.0, 0.0, 0.0, 0.05, 9.0, 9.0), _at(0.0, 0.0, 0.0, 0.3, 0.3, 0.3)
    towards = torch.nn.functional.normalize(torch.tensor([-2.0, 1.0, 0.0]), dim=0)
    pictures = render_plainly(_scene([Kind.BOX, Kind.ELLIPSOID], [wall, ball], sun=tuple(towards.tolist())), 128)
    light = pictures.values[0, 0].mean(0)
    dark = (light < 0.3 * light.median()) & (_owner(pictures) == 0)
    row, column = torch.nonzero(dark).float().mean(0)
    shift = 1.95 * 0.5 / (11.95 * 0.2)  # metres aside over half of what the crop spans there
    assert column / 64 - 1 == pytest.approx(shift, abs=0.04)
    assert row / 64 - 1 == pytest.approx(0.0, abs=0.03)


# How a camera takes it


@pytest.mark.parametrize("size", [18, 45, 64, 100])
def test_resizing_is_that_of_the_pyramid(size):
    pixels = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(size))
    expected = torch.nn.functional.interpolate(pixels, size=(64, 64), mode="bilinear", antialias=size > 64)
    padded = torch.nn.functional.pad(pixels, (0, crops.FINEST - size, 0, crops.FINEST - size))
    matrix = crops.resizing(torch.tensor([size]))[0]
    torch.testing.assert_close(matrix @ padded[0, 0] @ matrix.T, expected[0, 0], atol=1e-4, rtol=0)


def test_pixels_are_means_of_samples():
    matrix = crops.shrinking(torch.tensor([32]), 64, torch.zeros(1))[0]
    samples = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.avg_pool2d(samples[None], 2)[0]
    torch.testing.assert_close((matrix @ samples @ matrix.T)[:32, :32], expected, atol=1e-5, rtol=0)


def test_outside_of_the_picture_is_black():
    light = torch.full((1, 8, 3, 64, 64), 0.5)
    frames = crops.develop(Dice(2, CPU), light, torch.tensor([64]), torch.tensor([[-2.0, 2.0, 0.0, 3.0]]))
    assert not frames[0, :, :, :30].any()
    assert (frames[0, :, :, 34:] > 0).all()
