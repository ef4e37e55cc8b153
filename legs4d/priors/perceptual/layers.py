"""The layers of the two networks of LPIPS 0.1, and what their weights are called in the usual `lpips` package."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """A convolution and the ReLU after it.

    Attributes:
        slice, place: where it stands in the usual package's network.
        shape: [out, in, height, width].
        stride, padding: pixels.
        pooled: (size, stride) of the maximum taken before it; None for none.
    """

    slice: int
    place: int
    shape: tuple[int, int, int, int]
    stride: int
    padding: int
    pooled: tuple[int, int] | None = None


@dataclass(frozen=True)
class LpipsNetwork:
    """A network.

    Attributes:
        title: its name for a person.
        layers: in order.
        taps: numbers of the layers whose outputs are compared.
        smallest: side in pixels, below which nothing is left to pool.
    """

    title: str
    layers: tuple[Layer, ...]
    taps: tuple[int, ...]
    smallest: int


def convolution_key(layer: Layer, part: str) -> str:
    return f"net.slice{layer.slice}.{layer.place}.{part}"


def head_key(number: int) -> str:
    return f"lin{number}.model.1.weight"


_ALEX = (
    Layer(1, 0, (64, 3, 11, 11), 4, 2),
    Layer(2, 3, (192, 64, 5, 5), 1, 2, (3, 2)),
    Layer(3, 6, (384, 192, 3, 3), 1, 1, (3, 2)),
    Layer(4, 8, (256, 384, 3, 3), 1, 1),
    Layer(5, 10, (256, 256, 3, 3), 1, 1),
)


def _vgg() -> tuple[Layer, ...]:
    layers, before, place = [], 3, 0
    for number, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for i in range(count):
            pooled = (2, 2) if i == 0 and number > 1 else None
            place += 1 if pooled else 0
            layers.append(Layer(number, place, (width, before, 3, 3), 1, 1, pooled))
            place, before = place + 2, width
    return tuple(layers)


NETWORKS = {
    "alex": LpipsNetwork("AlexNet", _ALEX, (0, 1, 2, 3, 4), 35),
    "vgg": LpipsNetwork("VGG16", _vgg(), (1, 3, 6, 9, 12), 16),
}
"""By the names that the usual package has for them."""
