"""Sizes of the tiny encoder, and how its pictures are scaled; without torch, for those who only read phrases."""

SIDE = 64
"""Of the crops, pixels."""
FRAMES = 8
"""Of a window."""
PLACES = 16
"""Of a crop, 4 × 4: what a frame is remembered by is told of each."""
CODE = 96
"""Numbers that a place of a frame is remembered by."""
WIDTH = PLACES * CODE
"""Numbers that a frame is remembered by."""
DIM = 256
"""Numbers of an embedding as the nets are trained, before what the calibration adds."""
TEXT_WIDTH = 256
TEXT_LAYERS = 4
TEXT_HEADS = 4
"""Of the half that reads."""
CONTEXT = 16
"""Words of a phrase, its end among them; articles are not counted."""
MEAN = (0.45, 0.45, 0.45)
STD = (0.25, 0.25, 0.25)
"""Of RGB in 0..1, subtracted and divided by. The same of each channel, so that gray is gray."""
