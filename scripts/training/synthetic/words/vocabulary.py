"""Write the tiny encoder's vocabulary: every word that its captions are made of."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).resolve().parents[3:5])  # scripts/ and the repository

from legs4d.language.encoders.tiny.words import WORDS_FILE
from training.synthetic.words.phrases import all_words


def vocabulary_text() -> str:
    """Of the file: a word a line."""
    return "\n".join(all_words()) + "\n"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    WORDS_FILE.write_text(vocabulary_text())
    print(f"{len(all_words())} words in {WORDS_FILE}")
