"""The words of captions: how objects, colours, actions and their combinations are named.

A wording says which objects or actions it surely names, and which it may name: of a thing that falls, it is true that
it is "in mid-air"; whether one that bounces is, cannot be told, and is not taught.

Most of this file is data: tables of words, which are read side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from training.synthetic.schema import ACTIONS, OBJECTS
from training.synthetic.words.abilities import PEOPLE

HUMANS = ("man", "woman")
ANIMALS = ("dog", "bird")
THINGS = tuple(name for name in OBJECTS if name not in (*PEOPLE, *ANIMALS))
LIVING = (*PEOPLE, *ANIMALS)

COLOR, OTHER = "{c}", "{x}"
"""Stand in a wording for the word of a colour and for that of the object something is done with."""


@dataclass(frozen=True)
class Noun:
    """What objects are called.

    Attributes:
        words: names, any of which may be used.
        objects: surely named so.
        maybe: perhaps named so.
    """

    words: tuple[str, ...]
    objects: tuple[str, ...]
    maybe: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verb:
    """What actions are called.

    Attributes:
        words: "flying|flies|flew": while it happens, as it happens and, where given, afterwards; "=held" for what only
            stands with "is". `OTHER` stands for what it is done with.
        actions: surely called so.
        maybe: perhaps called so.
        objects: of which it is said.
        passive: "thrown": `OTHER` is that by the one who does it.
    """

    words: tuple[str, ...]
    actions: tuple[str, ...]
    maybe: tuple[str, ...] = ()
    objects: tuple[str, ...] = OBJECTS
    passive: tuple[str, ...] = ()


NAMES: dict[str, tuple[str, ...]] = {
    "man": ("man", "guy", "gentleman", "male person", "boy", "male figure"),
    "woman": ("woman", "lady", "girl", "female person", "female figure"),
    "robot": ("robot", "android", "humanoid robot", "humanoid"),
    "dog": ("dog", "puppy", "hound"),
    "bird": ("bird", "pigeon", "sparrow", "seagull"),
    "ball": ("ball", "basketball", "football", "sphere", "soccer ball", "rubber ball", "orb", "volleyball"),
    "balloon": ("balloon", "party balloon", "toy balloon"),
    "box": ("box", "cube", "crate", "carton", "parcel", "package", "cardboard box", "block"),
    "cylinder": ("cylinder", "tube", "can", "barrel", "tin can", "drum"),
    "cone": ("cone", "traffic cone", "road cone"),
    "ring": ("ring", "hoop", "torus", "donut", "hula hoop"),
    "wheel": ("wheel", "tire", "tyre"),
    "door": ("door", "gate", "front door"),
    "book": ("book", "notebook", "novel", "textbook"),
    "chair": ("chair", "seat", "stool"),
    "table": ("table", "desk", "coffee table"),
    "lamp": ("lamp", "desk lamp", "floor lamp", "lantern"),
    "cup": ("cup", "mug", "teacup", "coffee cup"),
    "bottle": ("bottle", "flask", "water bottle"),
    "plate": ("plate", "dish", "dinner plate", "disc", "saucer"),
    "hammer": ("hammer", "mallet", "sledgehammer"),
    "car": ("car", "automobile", "toy car", "sedan"),
    "plane": ("plane", "airplane", "aeroplane", "aircraft", "toy plane", "jet"),
    "tree": ("tree", "small tree", "fir tree", "plant"),
}
"""Of each object; the first is its plain name."""

_GENERAL = (
    Noun(("person", "human", "someone", "somebody", "human being"), HUMANS, ("robot",)),
    Noun(("figure",), PEOPLE),
    Noun(("animal", "creature", "pet"), ANIMALS),
    Noun(("vehicle",), ("car",), ("plane", "wheel")),
    Noun(("toy",), ("ball", "balloon"), ("car", "plane", "robot", "box", "ring", "cone", "cylinder", "dog", "bird")),
    Noun(("furniture", "piece of furniture"), ("chair", "table"), ("lamp", "door", "box", "book")),
    Noun(("container",), ("box", "bottle", "cup"), ("cylinder", "plate")),
    Noun(("drinking vessel",), ("cup",), ("bottle",)),
    Noun(("tableware",), ("cup", "plate"), ("bottle",)),
    Noun(("tool",), ("hammer",), ("lamp",)),
    Noun(("round thing", "round object"), ("ball", "ring", "wheel", "plate", "balloon"), ("cylinder", "cup", "cone")),
    Noun(("shape", "solid"), ("ball", "box", "cylinder", "cone", "ring"), THINGS),
    Noun(("object", "thing", "item"), THINGS, LIVING),
    Noun(("something", "anything"), OBJECTS),
)

NOUNS: tuple[Noun, ...] = tuple(Noun(words, (name,)) for name, words in NAMES.items()) + _GENERAL

COLOR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "red", "crimson", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow", "yellow", "golden"),
    "green": ("green",),
    "blue": ("blue", "blue", "navy"),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "brown": ("brown",),
    "black": ("black",),
    "gray": ("gray", "grey"),
    "white": ("white",),
}
"""Single words; one that is common stands twice."""

OTHER_WORDS: dict[str, tuple[str, ...]] = {
    name: tuple(word for word in words if " " not in word) for name, words in NAMES.items()
}
"""Single words for `OTHER`."""

CLOTHES = ("in {c}", "in a {c} shirt", "wearing a {c} shirt", "wearing {c}", "dressed in {c}", "with a {c} top")
CLOTHES_OF = {
    "man": (*CLOTHES, "in a {c} jacket", "in a {c} t-shirt"),
    "woman": (*CLOTHES, "in a {c} dress", "wearing a {c} dress", "in a {c} blouse"),
}
COLORED = ("{c} {n}", "{c} {n}", "{c} {n}", "{c} {n}", "{c} colored {n}", "bright {c} {n}", "{n} that is {c}")
"""How the colour of a thing is told."""

DECORATIONS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("box", "door", "chair", "table"): ("wooden",),
    ("bottle", "cup", "plate"): ("glass", "plastic"),
    ("ball", "balloon", "ring", "wheel", "plate"): ("round",),
    ("hammer", "cylinder", "lamp", "car", "robot", "ring"): ("metal",),
    OBJECTS: ("small", "big", "little", "large"),
    HUMANS: ("young", "tall"),
}
"""Adjectives that people use and that captions may have, without being told what they mean: they are learned to be
ignored. By the objects that they are said of."""

ADVERBS = ("slowly", "quickly", "fast", "again", "right now")
"""Also ignored."""

_AIRBORNE = ("fly", "fall", "rise")
_MOVING = ("fly", "fall", "rise", "bounce", "roll", "slide", "swing", "orbit", "walk", "run", "jump", "carried")
_HOLDING = ("hold", "carry")
_HANDLING = ("throw", "catch", "pick up", "put down")
_NOT_STILL = tuple(action for action in ACTIONS if action != "still")

VERBS: tuple[Verb, ...] = (
    Verb(
        (
            *("=still", "standing still|stands still|stood still", "not moving|does not move", "=motionless"),
            *("staying still|stays still", "=at rest", "=stationary", "staying in place|stays in place"),
        ),
        ("still",),
        ("hold", "held"),
    ),
    Verb(("waiting|waits|waited", "=idle", "standing around|stands around"), ("still",), ("hold",), LIVING),
    Verb(("standing|stands|stood",), ("still", "hold"), ("wave", "clap", "bow", "stand up", *_HANDLING), LIVING),
    Verb(("resting|rests|rested", "sitting there|sits there", "lying there|lies there"), ("still",), (), THINGS),
    # Through the air
    Verb(
        (
            *("flying|flies|flew", "flying through the air|flies through the air|flew through the air", "=in flight"),
            *("soaring|soars|soared", "soaring through the air|soars through the air"),
            *("hurtling through the air|hurtles through the air", "sailing through the air|sails through the air"),
            *("flying past|flies past", "zooming through the air|zooms through the air", "flying by|flies by"),
        ),
        ("fly",),
        ("orbit", "bounce", "rise", "jump"),
    ),
    Verb(
        ("=thrown", "being thrown|is being thrown", "=thrown through the air", "=tossed through the air", "=hurled"),
        ("fly",),
        ("bounce", "fall", "rise", "collide"),
        THINGS,
    ),
    Verb(
        ("=in mid-air", "=in the air", "=airborne", "=up in the air"),
        (*_AIRBORNE, "jump"),
        ("bounce", "orbit", "swing", "appear", "disappear", "collide", "spin", "grow", "shrink", "held", "still"),
    ),
    Verb(
        ("moving through the air|moves through the air|moved through the air",),
        _AIRBORNE,
        ("bounce", "orbit", "swing", "jump", "collide", "carried"),
    ),
    Verb(
        (
            *("falling|falls|fell", "falling down|falls down|fell down", "dropping|drops|dropped"),
            *("dropping down|drops down", "falling to the ground|falls to the ground|fell to the ground"),
            *("falling to the floor|falls to the floor", "coming down|comes down|came down", "plunging|plunges"),
            *(
                "dropping to the floor|drops to the floor",
                "moving down|moves down",
                "falling from above|falls from above",
            ),
        ),
        ("fall",),
        ("topple", "bounce"),
        (*THINGS, *ANIMALS),
    ),
    Verb(
        (
            *("falling|falls|fell", "falling down|falls down|fell down", "falling over|falls over|fell over"),
            *("collapsing|collapses|collapsed", "tripping|trips|tripped", "tumbling down|tumbles down"),
            "falling to the ground|falls to the ground|fell to the ground",
        ),
        ("fall",),
        (),
        PEOPLE,
    ),
    Verb(
        (
            *("rising|rises|rose", "going up|goes up|went up", "floating up|floats up|floated up", "ascending|ascends"),
            *("moving up|moves up|moved up", "rising into the air|rises into the air", "lifting off|lifts off"),
            *("floating upwards|floats upwards", "levitating|levitates"),
        ),
        ("rise",),
        ("bounce", "stand up"),
    ),
    Verb(("taking off|takes off|took off",), ("rise",), ("fly",), ("bird", "plane", "balloon")),
    Verb(
        (
            *("bouncing|bounces|bounced", "bouncing up and down|bounces up and down", "rebounding|rebounds"),
            *("bouncing on the floor|bounces on the floor", "bouncing off the ground|bounces off the ground"),
        ),
        ("bounce",),
        ("jump",),
    ),
    # On the ground
    Verb(
        (
            *("rolling|rolls|rolled", "rolling along|rolls along", "rolling along the floor|rolls along the floor"),
            *("rolling across the ground|rolls across the ground", "rolling away|rolls away|rolled away"),
            "rolling over the floor|rolls over the floor",
        ),
        ("roll",),
        (),
        THINGS,
    ),
    Verb(
        ("driving|drives|drove", "driving along|drives along", "driving away|drives away", "driving by|drives by"),
        ("roll",),
        ("slide",),
        ("car",),
    ),
    Verb(
        (
            *("spinning|spins|spun", "spinning around|spins around|spun around", "rotating|rotates|rotated"),
            *("turning around|turns around|turned around", "revolving|revolves", "whirling|whirls|whirled"),
            *("twirling|twirls", "turning|turns|turned", "spinning in place|spins in place"),
            *(
                "going round and round|goes round and round",
                "rotating in place|rotates in place",
                "turning round|turns round",
            ),
        ),
        ("spin",),
        ("orbit", "roll"),
    ),
    Verb(("pirouetting|pirouettes", "turning in a circle|turns in a circle"), ("spin",), ("orbit",), LIVING),
    Verb(
        (
            *("sliding|slides|slid", "sliding along|slides along", "sliding across the floor|slides across the floor"),
            *("gliding along the floor|glides along the floor", "slipping|slips|slipped", "skidding|skids|skidded"),
            *("=pushed along", "being pushed|is being pushed", "being dragged|is being dragged", "=dragged along"),
            "sliding sideways|slides sideways",
        ),
        ("slide",),
        (),
        THINGS,
    ),
    # In place
    Verb(
        (
            *("swinging|swings|swung", "swinging back and forth|swings back and forth", "swaying|sways|swayed"),
            *("swinging to and fro|swings to and fro", "swinging like a pendulum|swings like a pendulum"),
            *("swaying from side to side|sways from side to side", "dangling|dangles"),
        ),
        ("swing",),
        ("shake",),
        THINGS,
    ),
    Verb(
        (
            *("shaking|shakes|shook", "trembling|trembles|trembled", "vibrating|vibrates|vibrated"),
            *("wobbling|wobbles|wobbled", "jittering|jitters", "being shaken|is being shaken", "quivering|quivers"),
            "rattling|rattles",
        ),
        ("shake",),
        ("swing",),
        THINGS,
    ),
    Verb(
        (
            *("growing|grows|grew", "getting bigger|gets bigger|got bigger", "getting larger|gets larger"),
            *("expanding|expands|expanded", "becoming bigger|becomes bigger", "swelling|swells"),
            *("growing larger|grows larger", "increasing in size|increases in size"),
        ),
        ("grow",),
    ),
    Verb(("inflating|inflates|inflated", "being inflated|is being inflated"), ("grow",), (), ("balloon", "ball")),
    Verb(
        (
            *(
                "shrinking|shrinks|shrank",
                "getting smaller|gets smaller|got smaller",
                "becoming smaller|becomes smaller",
            ),
            *("contracting|contracts", "growing smaller|grows smaller", "decreasing in size|decreases in size"),
        ),
        ("shrink",),
    ),
    Verb(("deflating|deflates|deflated",), ("shrink",), (), ("balloon", "ball")),
    Verb(
        (
            *("appearing|appears|appeared", "popping up|pops up", "materializing|materializes", "showing up|shows up"),
            *("appearing out of nowhere|appears out of nowhere", "suddenly appearing|suddenly appears"),
            "becoming visible|becomes visible",
        ),
        ("appear",),
    ),
    Verb(
        (
            *("disappearing|disappears|disappeared", "vanishing|vanishes|vanished", "fading away|fades away"),
            *("suddenly disappearing|suddenly disappears", "vanishing into thin air|vanishes into thin air"),
            "becoming invisible|becomes invisible",
        ),
        ("disappear",),
    ),
    Verb(
        (
            *("orbiting|orbits|orbited", "circling|circles|circled", "moving in a circle|moves in a circle"),
            *("going around something|goes around something", "flying in circles|flies in circles"),
            *("orbiting {x}|orbits {x}", "circling {x}|circles {x}|circled {x}", "going around {x}|goes around {x}"),
            *(
                "flying around {x}|flies around {x}",
                "moving around {x}|moves around {x}",
                "circling around {x}|circles around {x}",
            ),
        ),
        ("orbit",),
    ),
    Verb(
        (
            *(
                "colliding|collides|collided",
                "crashing|crashes|crashed",
                "hitting something|hits something|hit something",
            ),
            *("bumping into something|bumps into something", "smashing into something|smashes into something"),
            *("colliding with {x}|collides with {x}", "crashing into {x}|crashes into {x}", "hitting {x}|hits {x}"),
            *("bumping into {x}|bumps into {x}", "striking {x}|strikes {x}|struck {x}"),
        ),
        ("collide",),
    ),
    Verb(
        (
            *(
                "toppling|topples|toppled",
                "toppling over|topples over|toppled over",
                "tipping over|tips over|tipped over",
            ),
            *("falling over|falls over|fell over", "keeling over|keels over", "being knocked over|is knocked over"),
        ),
        ("topple",),
        ("fall",),
        THINGS,
    ),
    Verb(
        (
            "opening|opens|opened",
            "being opened|is being opened",
            "opening up|opens up|opened up",
            "swinging open|swings open",
        ),
        ("open",),
    ),
    Verb(
        (
            *("closing|closes|closed", "being closed|is being closed", "shutting|shuts", "being shut|is being shut"),
            "swinging shut|swings shut",
        ),
        ("close",),
    ),
    # In hands
    Verb(
        (
            *(
                "=held",
                "being held|is being held",
                "=in a hand",
                "=held in a hand",
                "=in somebody's hands",
                "=in hands",
            ),
            *("=held by someone", "=held by {x}", "=in the hands of {x}", "being held by {x}|is being held by {x}"),
            "=held in the hands of {x}",
        ),
        ("held", "carried"),
        ("still", "rise", "fall", "swing", "shake"),
        (*THINGS, *ANIMALS),
    ),
    Verb(
        (
            *("=carried", "being carried|is being carried", "=carried around", "=carried by someone", "=carried along"),
            *("=carried by {x}", "being carried by {x}|is being carried by {x}", "=carried around by {x}"),
        ),
        ("carried",),
        ("held",),
        (*THINGS, *ANIMALS),
    ),
    # What people and animals do
    Verb(
        (
            *("walking|walks|walked", "walking along|walks along", "strolling|strolls|strolled", "walking by|walks by"),
            *(
                "walking around|walks around|walked around",
                "striding|strides",
                "marching|marches",
                "taking steps|takes steps",
            ),
            *("walking across the room|walks across the room", "wandering|wanders"),
        ),
        ("walk",),
        ("carry", "run"),
        LIVING,
    ),
    Verb(
        (
            *(
                "running|runs|ran",
                "running along|runs along",
                "jogging|jogs|jogged",
                "sprinting|sprints",
                "dashing|dashes",
            ),
            *("running around|runs around|ran around", "running by|runs by", "racing along|races along"),
        ),
        ("run",),
        (),
        LIVING,
    ),
    Verb(
        (
            *("jumping|jumps|jumped", "jumping up|jumps up|jumped up", "leaping|leaps|leaped", "hopping|hops|hopped"),
            *(
                "jumping into the air|jumps into the air",
                "jumping up and down|jumps up and down",
                "leaping up|leaps up",
            ),
        ),
        ("jump",),
        (),
        LIVING,
    ),
    Verb(
        (
            *(
                "waving|waves|waved",
                "waving a hand|waves a hand",
                "waving hello|waves hello",
                "waving an arm|waves an arm",
            ),
            *("waving goodbye|waves goodbye", "greeting someone|greets someone", "waving at someone|waves at someone"),
        ),
        ("wave",),
        (),
        PEOPLE,
    ),
    Verb(
        (
            *(
                "throwing|throws|threw",
                "throwing something|throws something|threw something",
                "making a throw|makes a throw",
            ),
            *("tossing something|tosses something", "hurling something|hurls something"),
            *(
                "throwing {x}|throws {x}|threw {x}",
                "throwing {x} away|throws {x} away",
                "tossing {x}|tosses {x}|tossed {x}",
            ),
            *(
                "hurling {x}|hurls {x}",
                "flinging {x}|flings {x}",
                "throwing {x} through the air|throws {x} through the air",
            ),
            "throwing {x} with both arms|throws {x} with both arms",
        ),
        ("throw",),
        (),
        PEOPLE,
        ("thrown", "tossed", "hurled"),
    ),
    Verb(
        (
            *(
                "catching|catches|caught",
                "catching something|catches something|caught something",
                "making a catch|makes a catch",
            ),
            *("catching {x}|catches {x}|caught {x}", "grabbing {x} out of the air|grabs {x} out of the air"),
            *("receiving {x}|receives {x}", "catching {x} with both hands|catches {x} with both hands"),
        ),
        ("catch",),
        (),
        PEOPLE,
        ("caught",),
    ),
    Verb(
        (
            *("picking something up|picks something up", "picking up something|picks up something"),
            *("lifting something from the floor|lifts something from the floor",),
            *(
                "picking up {x}|picks up {x}|picked up {x}",
                "picking {x} up|picks {x} up",
                "lifting {x}|lifts {x}|lifted {x}",
            ),
            *("taking {x} from the floor|takes {x} from the floor", "lifting up {x}|lifts up {x}"),
        ),
        ("pick up",),
        (),
        PEOPLE,
        ("picked up", "lifted"),
    ),
    Verb(
        (
            *("putting something down|puts something down", "putting down something|puts down something"),
            *(
                "setting something down|sets something down",
                "placing something on the floor|places something on the floor",
            ),
            *(
                "putting down {x}|puts down {x}|put down {x}",
                "putting {x} down|puts {x} down",
                "setting {x} down|sets {x} down",
            ),
            *("placing {x} on the floor|places {x} on the floor", "laying {x} down|lays {x} down|laid {x} down"),
        ),
        ("put down",),
        (),
        PEOPLE,
        ("put down", "set down"),
    ),
    Verb(
        (
            *(
                "holding something|holds something|held something",
                "holding something in hands|holds something in hands",
            ),
            *(
                "holding {x}|holds {x}|held {x}",
                "gripping {x}|grips {x}",
                "clutching {x}|clutches {x}",
                "=with {x} in hand",
            ),
            *("holding {x} in hands|holds {x} in hands", "=with {x} in both hands", "grasping {x}|grasps {x}"),
            "holding onto {x}|holds onto {x}",
        ),
        _HOLDING,
        _HANDLING,
        PEOPLE,
        ("held",),
    ),
    Verb(
        (
            *(
                "carrying something|carries something|carried something",
                "carrying something around|carries something around",
            ),
            *(
                "carrying {x}|carries {x}|carried {x}",
                "walking with {x}|walks with {x}",
                "carrying {x} around|carries {x} around",
            ),
            *(
                "transporting {x}|transports {x}",
                "bringing {x}|brings {x}|brought {x}",
                "carrying {x} along|carries {x} along",
            ),
        ),
        ("carry",),
        ("hold",),
        PEOPLE,
        ("carried",),
    ),
    Verb(
        (
            *("kicking|kicks|kicked", "kicking something|kicks something", "making a kick|makes a kick"),
            *(
                "kicking {x}|kicks {x}|kicked {x}",
                "kicking {x} away|kicks {x} away",
                "hitting {x} with a foot|hits {x} with a foot",
            ),
        ),
        ("kick",),
        (),
        PEOPLE,
        ("kicked",),
    ),
    Verb(
        (
            *("sitting down|sits down|sat down", "taking a seat|takes a seat|took a seat", "having a seat|has a seat"),
            "crouching down|crouches down",
        ),
        ("sit down",),
        (),
        LIVING,
    ),
    Verb(
        (
            *("standing up|stands up|stood up", "getting up|gets up|got up", "rising to the feet|rises to the feet"),
            "getting to the feet|gets to the feet",
        ),
        ("stand up",),
        (),
        LIVING,
    ),
    Verb(
        (
            *("bowing|bows|bowed", "taking a bow|takes a bow|took a bow", "bending forward|bends forward"),
            *("bowing down|bows down", "leaning forward|leans forward|leaned forward", "bending over|bends over"),
        ),
        ("bow",),
        ("pick up", "put down"),
        PEOPLE,
    ),
    Verb(
        (
            *("clapping|claps|clapped", "clapping hands|claps hands", "applauding|applauds|applauded"),
            "giving applause|gives applause",
        ),
        ("clap",),
        (),
        PEOPLE,
    ),
    # In general
    Verb(
        ("moving|moves|moved", "=in motion", "=on the move", "moving around|moves around"),
        _MOVING,
        tuple(action for action in _NOT_STILL if action not in _MOVING),
    ),
    Verb(("changing size|changes size", "changing in size|changes in size"), ("grow", "shrink")),
    Verb(
        ("playing with {x}|plays with {x}|played with {x}", "handling {x}|handles {x}"),
        ("throw", "catch", "kick"),
        (*_HOLDING, *_HANDLING),
        PEOPLE,
    ),
)

PLAIN = ("{n} {ing}", "{n} {ing}", "{n} {ing}", "{n} {ing}", "{n} is {ing}", "{n} is {ing}", "{n} {s}", "{n} {s}")
TOLD = (
    *("there is {n} {ing}", "video of {n} {ing}", "{n} that is {ing}", "{n} that {s}", "we see {n} {ing}"),
    *("{n} can be seen {ing}", "clip of {n} {ing}", "moment when {n} {s}", "{ing} {n}", "{n}, {ing}", "{n} as it {s}"),
    *("in this video {n} is {ing}", "footage of {n} {ing}", "here {n} is {ing}", "{n} {past}", "{n} {past}"),
)
"""Sentences of a noun and a verb."""
PASSIVE = ("{x} being {p} by {n}", "{x} {p} by {n}", "{x} is {p} by {n}", "{x} that is {p} by {n}")
NAMED = ("{n}", "{n}", "{n}", "{n}", "video of {n}", "picture of {n}", "there is {n}", "we see {n}", "{n} is here")
"""Sentences of a noun."""

NOTHING = (
    *("nothing", "nothing at all", "an empty room", "the background", "a wall", "the floor", "empty space"),
    *("an empty scene", "the ground", "a blank wall", "nobody and nothing", "an empty place", "just the background"),
    *("only the wall", "only the floor", "there is nothing", "nothing to see here", "background only"),
)

HELD_OUT_SHARE = 10
"""One in so many combinations of a noun and a verb is held out."""


def is_held_out(noun: str, verb: str) -> bool:
    """Whether training never has these two words together, though it has each with others."""
    return crc32(f"{noun}|{verb}".encode()) % HELD_OUT_SHARE == 0
