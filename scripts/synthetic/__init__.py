"""Clips of made-up scenes with what is true of them, for training the encoder `tiny` (`scripts/train_tiny.py`)."""
