"""Clips of made-up scenes with what is true of them, for training the encoder `tiny` (`training/tiny/train.py`)."""
