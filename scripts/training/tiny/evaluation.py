"""Questions for the tiny encoder that have one right answer, and blind ways to answer them.

A question is a clip and some captions, of which one is true of it and the others are false, by `schema.truth`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from legs4d.language.encoders.tiny.model import TinyModel
from legs4d.language.encoders.tiny.sizes import CONTEXT
from legs4d.language.encoders.tiny.words import Words
from training.synthetic.schema import ACTIONS, BACKWARDS, CENTER, FALSE, OBJECTS, TRUE, Claims, Clips, Facts, bits
from training.synthetic.words import wordings
from training.synthetic.words.abilities import PAIRS
from training.synthetic.words.captions import Asked, Bank, Captions, choose_entity, labels, spread
from training.synthetic.words.wordings import Verb
from training.tiny.nets import normalised

CHOICES = 100
ACTION_CHOICES = 20
COLOR_SHARE, OTHER_SHARE = 1 / 3, 1 / 2
"""Of captions that name a colour, and what the action is done with."""
BATCH = 512

BLIND = ("text only", "single frame", "shuffled frames")
"""Baselines: captions alone, ranked by how well they fit clips in general; the clip's middle frame 8 times; its frames
in another order."""


@dataclass(frozen=True)
class Questions:
    """N questions with M captions each; the first is the right one.

    Attributes:
        frames: [N, 8, 3, 64, 64] uint8.
        tokens: [N, M, CONTEXT] int16.
        action: [N] int64, what the right one says.
    """

    frames: Tensor
    tokens: Tensor
    action: Tensor

    def __len__(self) -> int:
        return len(self.frames)


def take(facts: Facts, which: Tensor) -> Facts:
    """Of some of the clips."""
    return Facts(**{field.name: getattr(facts, field.name)[which] for field in fields(Facts)})


def among_captions(
    clips: Clips, chosen: Tensor, bank: Bank, distractors: Captions, random: torch.Generator, color: float = COLOR_SHARE
) -> Questions:
    """Which of 100 captions is it? They name object and action, and some the colour.

    Args:
        clips: to ask about; those that show no chosen entity clearly are left out.
        chosen: [B, K] bool, entities to ask about.
        bank: to write the right captions.
        distractors: to draw wrong ones from: of a clip, those that are false.
        random: of all choices.
        color: share of right captions that name the colour.
    """
    asked, usable = _ask(clips.facts, chosen, random, color)
    usable &= bank.page_of(asked) >= 0
    clips, asked = Clips(clips.frames[usable], take(clips.facts, usable)), _some(asked, usable)
    right = bank.write(asked, random)
    own = labels(clips.facts, right).diagonal() == TRUE
    wrong = labels(clips.facts, distractors) == FALSE
    own &= wrong.sum(dim=1) >= CHOICES - 1
    picked = torch.multinomial(wrong[own] + 1e-9, CHOICES - 1, generator=random)
    tokens = torch.cat([right.tokens[own][:, None], distractors.tokens[picked]], dim=1)
    return Questions(clips.frames[own], tokens, asked.action[own])


def among_actions(clips: Clips, chosen: Tensor, plain: Captions, random: torch.Generator) -> Questions:
    """Which of 20 actions is it? All captions name the entity's object, by its plain name.

    Wrong are actions that the object can do, as far as there are enough.

    Args:
        clips, chosen, random: as for `among_captions`.
        plain: from `plain_captions`.
    """
    asked, usable = _ask(clips.facts, chosen, random)
    clips, asked = Clips(clips.frames[usable], take(clips.facts, usable)), _some(asked, usable)
    device = clips.frames.device
    every = torch.arange(len(ACTIONS), device=device)
    of_object = asked.object[:, None] * len(ACTIONS) + every  # [N, actions] into `plain`
    says = labels(clips.facts, plain).gather(1, of_object)
    can = torch.tensor([[(o, a) in PAIRS for a in ACTIONS] for o in OBJECTS], device=device)[asked.object]
    wrong = (says == FALSE) * torch.where(can, 1.0, 1e-4)
    own = (says.gather(1, asked.action[:, None]).squeeze(1) == TRUE) & ((wrong > 0).sum(dim=1) >= ACTION_CHOICES - 1)
    picked = torch.multinomial(wrong[own] + 1e-12, ACTION_CHOICES - 1, generator=random)
    picked = torch.cat([asked.action[own][:, None], picked], dim=1)
    tokens = plain.tokens[of_object[own].gather(1, picked)]
    return Questions(clips.frames[own], tokens, asked.action[own])


def forwards_or_backwards(clips: Clips, chosen: Tensor, plain: Captions, random: torch.Generator) -> Questions:
    """Which of an action and its reverse is it? Of clips of such actions, each also played backwards.

    Args:
        clips, chosen, plain, random: as for `among_actions`.
    """
    reverse = {**BACKWARDS, **{after: before for before, after in BACKWARDS.items()}}
    reversed_action = torch.tensor(
        [ACTIONS.index(reverse[a]) if a in reverse else -1 for a in ACTIONS], device=clips.frames.device
    )
    asked, usable = _ask(clips.facts, chosen, random)
    usable &= reversed_action[asked.action.clamp(max=len(ACTIONS) - 1)] >= 0
    clips, asked = Clips(clips.frames[usable], take(clips.facts, usable)), _some(asked, usable)
    there, back = asked.action, reversed_action[asked.action]
    says = labels(clips.facts, plain)
    first = asked.object * len(ACTIONS)
    own = (says.gather(1, (first + there)[:, None]).squeeze(1) == TRUE) & (
        says.gather(1, (first + back)[:, None]).squeeze(1) == FALSE
    )
    there, back, first, frames = there[own], back[own], first[own], clips.frames[own]
    pair = plain.tokens[torch.stack([first + there, first + back], dim=1)]
    return Questions(torch.cat([frames, frames.flip(1)]), torch.cat([pair, pair.flip(1)]), torch.cat([there, back]))


def captions_of(clips: Clips, bank: Bank, random: torch.Generator) -> Captions:
    """A caption of each of the clips that show clearly what an entity does, to be wrong for others."""
    asked, usable = _ask(clips.facts, torch.ones_like(clips.facts.clear), random, COLOR_SHARE)
    usable &= bank.page_of(asked) >= 0
    return bank.write(_some(asked, usable), random)


def _ask(facts: Facts, chosen: Tensor, random: torch.Generator, color: float = 0.0) -> tuple[Asked, Tensor]:
    """What to say of one of the chosen entities of each clip, and whether it shows one whose action is clear."""
    entity, usable = choose_entity(facts, chosen & facts.clear, 1, random)
    asked = spread(facts, entity, color, OTHER_SHARE, random)
    return asked, usable.flatten()


def _some(asked: Asked, which: Tensor) -> Asked:
    return Asked(**{field.name: getattr(asked, field.name)[which] for field in fields(Asked)})


def plain_captions(words: Words, device: torch.device) -> Captions:
    """Every object with every action, [objects · actions], in the plainest words: "ball flying"."""
    texts, objects, actions, maybe = [], [], [], []
    for name in OBJECTS:
        for action in ACTIONS:
            texts.append(f"{name} {plain_words(name, action)}")
            objects.append(bits((name,), OBJECTS))
            actions.append(bits((action,), ACTIONS))
            verb = _own_verb(name, action)
            maybe.append(bits(tuple({action, *verb.actions, *verb.maybe}), ACTIONS))
    tokens = torch.from_numpy(words.encode(texts)).to(device, torch.int16)
    zero = torch.zeros(len(texts), dtype=torch.int64, device=device)
    claims = Claims(torch.tensor(objects, device=device), zero, torch.tensor(actions, device=device), zero, zero.bool())
    return Captions(tokens, claims, replace(claims, actions=torch.tensor(maybe, device=device)))


def plain_words(name: str, action: str) -> str:
    """What an object does, in the first words that there are for it: "flying", "catching something"."""
    words = _own_verb(name, action).words[0]
    return words.split("|")[0].removeprefix("=")


def _own_verb(name: str, action: str) -> Verb:
    """The verb that means this action and as few others as there are, of this object if there is one."""
    verbs = [verb for verb in wordings.VERBS if verb.actions[0] == action and wordings.OTHER not in verb.words[0]]
    return min(verbs, key=lambda verb: (name not in verb.objects, len(verb.actions)))


@torch.inference_mode()
def confusion(model: TinyModel, clips: Clips, plain: Captions, random: torch.Generator) -> Tensor:
    """[actions, actions] shares: how often which action (row) is taken for which (column) that the object can do."""
    asked, usable = _ask(clips.facts, torch.ones_like(clips.facts.clear), random)
    asked, frames = _some(asked, usable), clips.frames[usable]
    can = torch.tensor([[(o, a) in PAIRS for a in ACTIONS] for o in OBJECTS], device=frames.device)
    every = torch.arange(len(ACTIONS), device=frames.device)
    read = model.read(plain.tokens)[asked.object[:, None] * len(ACTIONS) + every]  # [N, actions, DIM]
    fit = (read @ see(model, frames)[:, :, None]).squeeze(-1).masked_fill(~can[asked.object], -2)
    counts = torch.zeros(len(ACTIONS), len(ACTIONS), device=frames.device)
    counts.index_put_((asked.action, fit.argmax(dim=1)), torch.ones((), device=frames.device), accumulate=True)
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)


# Answers


@dataclass(frozen=True)
class Score:
    """How many questions were answered rightly.

    Attributes:
        right: share, 0..1.
        chance: share that guessing gets right.
        blind: share of each of `BLIND`.
        questions: how many.
        by_action: (share, questions) of each action that was right.
    """

    right: float
    chance: float
    blind: dict[str, float]
    questions: int
    by_action: dict[str, tuple[float, int]]


@torch.inference_mode()
def score(model: TinyModel, questions: Questions, random: torch.Generator) -> Score:
    """Ask the model, and the blind baselines."""
    answers = answer(model, questions)
    right = (answers == 0).float()
    blind = {
        "text only": _share(answer(model, questions, of_clip=_anything)),
        "single frame": _share(answer(model, questions, lambda frames: frames[:, CENTER, None].expand_as(frames))),
        "shuffled frames": _share(answer(model, questions, lambda frames: _shuffled(frames, random))),
    }
    by_action = {
        name: (right[questions.action == a].mean().item(), int((questions.action == a).sum()))
        for a, name in enumerate(ACTIONS)
        if (questions.action == a).any()
    }
    return Score(right.mean().item(), 1 / questions.tokens.shape[1], blind, len(questions), by_action)


def _share(answers: Tensor) -> float:
    return (answers == 0).float().mean().item()


def _anything(seen: Tensor) -> Tensor:
    """What clips look like on average, for each of them."""
    return seen.mean(dim=0).expand_as(seen)


def _shuffled(frames: Tensor, random: torch.Generator) -> Tensor:
    order = torch.rand(frames.shape[:2], generator=random, device=frames.device).argsort(dim=1)
    return frames.gather(1, order[:, :, None, None, None].expand_as(frames))


def _same(values: Tensor) -> Tensor:
    return values


def see(model: TinyModel, frames: Tensor, change: Callable[[Tensor], Tensor] = _same) -> Tensor:
    """[N, 8, 3, 64, 64] uint8 → [N, DIM] unit vectors, a batch at a time."""
    return torch.cat([model.see(normalised(change(frames[i : i + BATCH]))) for i in range(0, len(frames), BATCH)])


@torch.inference_mode()
def answer(
    model: TinyModel,
    questions: Questions,
    change: Callable[[Tensor], Tensor] = _same,
    of_clip: Callable[[Tensor], Tensor] = _same,
) -> Tensor:
    """[N] int64, the caption that fits each clip best.

    Args:
        model: that is asked.
        questions: that it is asked.
        change: of the frames [n, 8, 3, 64, 64] before they are seen.
        of_clip: of what was seen [N, DIM], before it is compared.
    """
    seen = of_clip(see(model, questions.frames, change))
    unique, where = questions.tokens.reshape(-1, CONTEXT).unique(dim=0, return_inverse=True)
    read = torch.cat([model.read(unique[first : first + 8 * BATCH]) for first in range(0, len(unique), 8 * BATCH)])
    best = []
    for first in range(0, len(questions), BATCH):
        captions = read[where.view(questions.tokens.shape[:2])[first : first + BATCH]]  # [n, M, DIM]
        best.append((captions @ seen[first : first + BATCH, :, None]).squeeze(-1).argmax(dim=1))
    return torch.cat(best)
