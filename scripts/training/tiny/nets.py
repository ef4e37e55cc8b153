"""What is trained and what for: the tiny encoder's nets with convolutions that are standardised, and their losses."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from legs4d.language.encoders.tiny.model import TinyModel
from legs4d.language.encoders.tiny.sizes import DIM, MEAN, STD
from legs4d.language.encoders.tiny.words import PAD
from training.synthetic.schema import ACTIONS, ALL_ACTIONS, ALL_OBJECTS, COLORS, FALSE, OBJECTS, TRUE, UNSURE, Claims
from training.synthetic.words.abilities import PAIRS
from training.synthetic.words.holdout import HELD_OUT_ACTIONS, HELD_OUT_COLORS


def normalised(frames: Tensor) -> Tensor:
    """[..., 3, H, W] uint8 → as the nets see them."""
    mean = torch.tensor(MEAN, device=frames.device)[:, None, None]
    std = torch.tensor(STD, device=frames.device)[:, None, None]
    return (frames / 255 - mean) / std


def sigmoid_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """SigLIP's (Zhai et al. 2023, equation 1) of [B, C] logits, every true pair told, `UNSURE` ones left out.

    Sum over captions, mean over clips.
    """
    sign = torch.where(truth == TRUE, 1.0, -1.0)
    losses = F.softplus(-sign * logits)
    return torch.where(truth == UNSURE, 0.0, losses).sum() / len(logits)


def choice_loss(logits: Tensor, truth: Tensor, true: int) -> Tensor:
    """CLIP's (Radford et al. 2021) of [B, C] logits, with no wrong answers but those that are `FALSE`.

    The caption drawn for a clip is to be told from those that are false of it, and the clip from those that it is false
    of; mean over captions and both.

    Args:
        logits: of clips with captions, of which the first B · `true` were drawn for the clips, `true` for each.
        truth: of all pairs.
        true: captions drawn for each clip.
    """
    wrong = torch.where(truth == FALSE, logits, -1e4)  # not infinite: where nothing is wrong there is still a gradient
    clip = torch.arange(len(logits), device=logits.device).repeat_interleave(true)
    caption = torch.arange(len(clip), device=logits.device)
    own = logits[clip, caption]
    among_captions = F.softplus(wrong.logsumexp(dim=1)[clip] - own)
    among_clips = F.softplus(wrong[:, : len(clip)].logsumexp(dim=0) - own)
    told = truth[clip, caption] == TRUE
    return torch.where(told, among_captions + among_clips, 0.0).sum() / (2 * told.sum().clamp(min=1))


def inventory() -> Claims:
    """What a clip is asked for one by one, beside its captions: every object, action, colour, object in action, and
    object of a colour. Not what is held out: always to say no would teach that it never is."""
    objects = {name: 1 << i for i, name in enumerate(OBJECTS)}
    actions = {name: 1 << i for i, name in enumerate(ACTIONS)}
    colors = {name: 1 << i for i, name in enumerate(COLORS)}
    asked = [(one, 0, ALL_ACTIONS) for one in objects.values()]
    asked += [(ALL_OBJECTS, 0, one) for one in actions.values()]
    asked += [(ALL_OBJECTS, one, ALL_ACTIONS) for one in colors.values()]
    asked += [(objects[name], 0, actions[action]) for name, action in sorted(PAIRS - HELD_OUT_ACTIONS)]
    colored = {(name, color) for name in OBJECTS for color in COLORS} - HELD_OUT_COLORS
    asked += [(objects[name], colors[color], ALL_ACTIONS) for name, color in sorted(colored)]
    sets = torch.tensor(asked).T
    return Claims(sets[0], sets[1], sets[2], torch.zeros(len(asked)).long(), torch.zeros(len(asked)).bool())


class Standardised(nn.Module):
    """Weights of a convolution, [out, in, k, k], with mean 0 and a learned length for each channel (Brock et al. 2021).

    Without it six convolutions in a row, with nothing between them that normalises, grow a thousandfold at the rates
    that the rest learns well by. What is kept are the weights that come out: seeing costs no more.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.gain = nn.Parameter(self._centred(weight.detach()).flatten(1).norm(dim=1))

    @staticmethod
    def _centred(weight: Tensor) -> Tensor:
        return weight - weight.mean(dim=(1, 2, 3), keepdim=True)

    def forward(self, weight: Tensor) -> Tensor:
        centred = self._centred(weight)
        length = centred.flatten(1).norm(dim=1).clamp(min=1e-6)
        return centred * (self.gain / length)[:, None, None, None]


def standardise(model: TinyModel) -> None:
    """Train a model's convolutions as `Standardised` ones, which begin as they are but for their means."""
    for conv in [*model.frame.convs, *model.frame.details]:
        assert isinstance(conv, nn.Conv2d)
        as_it_is = Standardised(conv.weight)
        with torch.no_grad():
            if not conv.weight.any():
                nn.init.normal_(conv.weight)  # its length is what is 0
        parametrize.register_parametrization(conv, "weight", as_it_is)


SHORT, SHARE_OF_SHORT = 7, 0.85
"""Words, with the end, of the shorter captions, and how many are taken for such: 0.9 are. Half of all reading would be
of what follows the end."""


def read_by_length(model: TinyModel, tokens: Tensor, end: int) -> Tensor:
    """As `TinyModel.read`, the shorter captions [C, CONTEXT] apart from the longer ones.

    Should one of the shorter ones be longer than `SHORT`, its last words are left out.
    """
    order = (tokens != PAD).sum(dim=1).argsort()
    few = int(SHARE_OF_SHORT * len(tokens))
    short, long = order[:few], order[few:]
    cut = tokens[short, :SHORT]
    last = torch.where(cut[:, -1] == PAD, PAD, end).to(cut.dtype)
    cut = torch.cat([cut[:, :-1], last[:, None]], dim=1)
    read = torch.cat([model.read(cut), model.read(tokens[long])])
    return read[order.argsort()]


class Nets(nn.Module):
    """Clips and captions to the loss.

    Telling right from wrong among many is what makes embeddings good; it says nothing of whether any is right. For that
    there is a little of the sigmoid loss, from which the model's scale and bias come. The same loss on an inventory of
    what is there, told from the embedding by a linear layer that is thrown away, teaches the half that sees before the
    half that reads knows its words.

    Attributes:
        model: what is trained.
        inventory: the layer that is thrown away.
        end: the id of a phrase's end.
        sharpness: logarithm of the scale of cosines where captions are told from each other.
    """

    SIGMOID_SHARE = 0.01
    """Weight of the sigmoid loss, which sums over some hundred true captions of a clip."""
    INVENTORY_SHARE = 0.1
    """Weight of the inventory's, which sums over some ten things that are true of a clip."""

    def __init__(self, model: TinyModel, true: int, end: int) -> None:
        super().__init__()
        self.model, self.true, self.end = model, true, end
        self.sharpness = nn.Parameter(model.logit_scale.detach().log())
        self.inventory = nn.Linear(DIM, len(inventory().objects))
        nn.init.normal_(self.inventory.weight, std=DIM**-0.5)
        nn.init.constant_(self.inventory.bias, -4.0)

    def forward(self, frames: Tensor, tokens: Tensor, truth: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and of it what comes of telling captions and clips from each other.

        Args:
            frames: [B, 8, 3, 64, 64] uint8.
            tokens: [C, CONTEXT] of captions, the first B · `true` drawn for the clips.
            truth: [B, C] of captions.
            there: [B, I] of the `inventory`.
        """
        seen = self.model.see(normalised(frames))
        read = read_by_length(self.model, tokens, self.end)
        cosines = (seen @ read.T).float()
        choice = choice_loss(cosines * self.sharpness.clamp(max=math.log(100.0)).exp(), truth, self.true)
        every = sigmoid_loss(cosines * self.model.logit_scale + self.model.logit_bias, truth)
        listed = sigmoid_loss(self.inventory(seen * DIM**0.5).float(), there)
        return choice + self.SIGMOID_SHARE * every + self.INVENTORY_SHARE * listed, choice.detach()
