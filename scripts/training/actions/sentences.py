"""Write the embeddings of the encoder `actions`' sentences, which would take seconds to make when a prompt is asked.

.venv/bin/python scripts/training/actions/sentences.py
"""

from __future__ import annotations

import argparse

import numpy as np

from legs4d.language import minilm
from legs4d.language.encoders.actions.meaning import SENTENCES_FILE, put
from legs4d.language.encoders.actions.wordings import OTHERS, SENTENCES


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    texts = sorted({text for some in SENTENCES.values() for text in some} | set(OTHERS))
    lines = np.frombuffer("\n".join(texts).encode(), np.uint8)
    vectors = np.stack([minilm.embed(list(some)) for some in zip(*map(put, texts), strict=True)])
    np.savez_compressed(SENTENCES_FILE, texts=lines, vectors=vectors.astype(np.float16))
    print(f"{len(texts)} sentences, {SENTENCES_FILE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
