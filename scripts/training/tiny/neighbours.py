"""Write what the tiny encoder reads unknown words by: its words, embedded one by one by the sentence encoder.

    .venv/bin/python scripts/training/tiny/neighbours.py [--only-show]

Run it after scripts/training/synthetic/words/vocabulary.py. Prints how it reads words that are near to some of it, and
words that are not, each with the cosine, so that the threshold (`reading.NEAR`) can be judged.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from legs4d.gaussians.store.files import write_file
from legs4d.language import minilm
from legs4d.language.encoders.tiny.reading import FILLERS, NEAR, NEIGHBOURS_FILE
from legs4d.language.encoders.tiny.words import known_words

NEAR_WORDS = {
    **{
        "lobbing": "throwing",
        "pitching": "throwing",
        "jogger": "jogging",
        "sprint": "sprinting",
        "skipping": "hopping",
    },
    **{"grabs": "grabbing", "snatching": "grabbing", "gyrating": "rotating", "swivelling": "turning"},
    **{"plummeting": "falling", "hovering": "floating", "trembles": "trembling", "nodding": "bowing"},
    **{"chap": "guy", "kid": "boy", "child": "boy", "boys": "boy", "men": "man", "women": "woman", "balls": "ball"},
    **{"puppies": "puppy", "crates": "crate", "doorway": "door", "bike": "car", "truck": "car", "helicopter": "plane"},
    **{"couch": "chair", "sofa": "chair", "bowl": "plate", "wine": "bottle", "magazine": "book", "parrot": "bird"},
    **{"turquoise": "blue", "beige": "brown", "maroon": "red", "teal": "green", "sphere": "sphere", "cyan": "blue"},
}
"""Words that are not all known, each with one that would do."""
FAR_WORDS = (
    *(
        "quantum",
        "tax",
        "singing",
        "cooking",
        "eating",
        "sleeping",
        "guitar",
        "computer",
        "happy",
        "democracy",
        "swims",
    ),
    *(
        "piano",
        "river",
        "typing",
        "laughing",
        "phone",
        "yesterday",
        "beautiful",
        "angry",
        "mountain",
        "writing",
        "cheese",
    ),
)
"""Words that mean nothing that it knows."""


def write_neighbours() -> None:
    """Embeddings of every word that says something alone, in half precision."""
    words = [word for word in known_words().words if word not in FILLERS]
    content = io.BytesIO()
    np.savez_compressed(content, words=np.array(words), vectors=minilm.embed(words).astype(np.float16))
    write_file(NEIGHBOURS_FILE, content.getvalue())
    print(f"{len(words)} words in {NEIGHBOURS_FILE}, {len(content.getvalue()) / 1e3:.0f} kB")


def show() -> None:
    with np.load(NEIGHBOURS_FILE, allow_pickle=False) as file:
        names, vectors = file["words"].tolist(), file["vectors"].astype(np.float32)
    for title, words in (("near", list(NEAR_WORDS)), ("far", list(FAR_WORDS))):
        for word in (word for word in words if word not in known_words()):
            likeness = vectors @ minilm.embed([word])[0]
            best = np.argsort(-likeness)[:3]
            found = ", ".join(f"{names[i]} {likeness[i]:.2f}" for i in best)
            print(f"{title:5} {word:12} {'read as' if likeness[best[0]] >= NEAR else 'not':8} {found}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only-show", action="store_true", help="print, and write nothing")
    if not parser.parse_args().only_show:
        write_neighbours()
    show()
