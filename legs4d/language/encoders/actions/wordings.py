"""How actions are put into words: sentences in which "someone" and "something" stand for who and what.

Most of this file is data. A sentence belongs to what motion recognises (`motion.recognised.ACTIONS`; what somebody does
and what happens to the thing meanwhile are one action here), or to one of the many things that it knows nothing of:
without those, whatever is asked would be nearest to something that it knows.
"""

from __future__ import annotations

from legs4d.motion.recognised import PAIRS

SENTENCES: dict[str, tuple[str, ...]] = {
    "fly": (
        "something flying through the air",
        "something flies across",
        "something is in the air",
        "something in flight",
        "something travels through the air after it was thrown",
        "something moves quickly through the air",
        "something moves fast past",
        "something on its way from someone to someone",
        "something goes from someone to someone through the air",
        "something moves in an arc",
        "something crosses the space between someone and someone",
        "something soars",
        "something speeds away through the air",
        "something hangs in the air",
        "something crosses from one side to the other in a high arc",
        "something is in transit",
    ),
    "fall": (
        "something falling down",
        "something drops to the floor",
        "something falls from above",
        "something coming down",
    ),
    "rise": ("something rising", "something goes up into the air", "something floats upwards", "something ascends"),
    "bounce": ("something bouncing", "something bounces up and down", "something bounces off the floor"),
    "roll": ("something rolling", "something rolls along the floor", "something rolls away"),
    "slide": (
        "something sliding",
        "something slides across the floor",
        "something is pushed along the floor",
        "something moving sideways along the floor",
    ),
    "spin": (
        "something spinning",
        "something spins around",
        "something turning around itself",
        "something rotates in place",
        "something goes round and round",
        "something going round in circles",
        "something turns on its axis",
        "something pivots",
        "something turns in a circle",
        "something makes a full turn",
        "something keeps turning",
        "something whirls",
    ),
    "shake": ("something shaking", "something wobbles", "something trembles", "something rattling to and fro"),
    "topple": ("something toppling over", "something tips over", "something falls over on its side"),
    "open": (
        "something opening",
        "something opens",
        "something is being opened",
        "something swings open on its hinge",
        "something swings wide",
        "something swings ajar",
        "something moves on its hinges",
        "something moves ajar",
        "something unfolds outwards",
        "something swings on its hinge",
        "something comes unlatched and opens",
        "someone opens something",
        "someone pulls something open",
        "something gives way and opens",
    ),
    "close": (
        "something closing",
        "something shuts",
        "something is being closed",
        "something falls shut",
        "someone closes something",
        "someone shuts something",
    ),
    "still": (
        "something standing still",
        "someone standing still",
        "something lies there",
        "someone waits",
        "something is at rest",
    ),
    "hold": (
        "something held in hands",
        "someone holding something",
        "someone holds something in the hands",
        "something is being held by someone",
        "someone has something in the hands",
        "something in someone's hands",
        "someone keeps something in the hands",
        "someone carries something in both hands",
        "someone hangs on to something",
        "something rests in the arms of someone",
        "someone has control of something",
        "something is pressed to the chest",
        "something sits in the hand",
        "someone stands with something in the arms",
        "someone hugs something",
        "something stays with someone",
        "something is under someone's arm",
        "someone grips something",
        "someone possesses something",
    ),
    "carry": ("someone carrying something around", "someone walks with something", "something is carried along"),
    "throw": (
        "someone throwing something",
        "someone throws something away",
        "something being thrown by someone",
        "something leaves the hands",
        "someone lets something fly",
        "someone passes something to someone",
        "someone lets go of something",
        "someone makes a pass",
        "something is released from the hands",
        "someone sends something to someone",
        "someone launches something",
        "someone shoots something at a goal",
        "something is let go",
        "someone gets rid of something",
        "someone fires something off",
        "someone pushes something away into the air",
        "something departs from the hands",
        "someone tosses something to someone",
        "someone makes a throw",
        "someone hurls something",
        "someone gives something a push into the air",
    ),
    "catch": (
        "someone catching something",
        "someone catches something",
        "something being caught",
        "something comes into the hands of someone",
        "someone receives something that was thrown",
        "someone receives a pass",
        "something lands in the hands of someone",
        "something arrives at someone",
        "someone takes something out of the air",
        "someone stops something with the hands",
        "someone collects something that comes",
        "someone gets hold of something that was flying",
        "something drops into someone's hands",
        "something finds its way into someone's arms",
        "hands close around something that comes",
        "someone intercepts something",
        "someone gets something that was thrown",
        "someone gets something",
        "someone takes something that comes",
        "someone makes a catch",
        "someone grabs something",
        "something reaches someone",
        "something ends up with someone",
    ),
    "kick": ("someone kicking something", "someone kicks something", "something is kicked with the foot"),
    "lift": (
        "someone picking something up",
        "someone lifts something from the floor",
        "something is picked up from the ground",
    ),
    "set down": ("someone putting something down", "someone sets something on the floor", "something is put down"),
    "approach": (
        "something approaching",
        "something comes nearer",
        "something moves towards someone",
        "someone approaches someone",
    ),
    "walk": ("someone walking", "someone walks along", "someone goes for a walk", "someone strolls"),
    "run": ("someone running", "someone runs", "someone sprints", "someone jogging"),
    "jump": ("someone jumping", "someone jumps up", "someone leaps into the air", "someone hops"),
}
"""By what motion recognises."""

_SOMEONE = """
eating something; drinking something; talking to someone; singing; shouting; laughing; crying; reading something;
writing something; sleeping; sitting down; sitting on something; standing up; lying down; cooking; cutting something;
waving; waving a hand; bowing; bending forward; clapping hands; dancing; swimming; climbing; kneeling; pointing at
something; washing something; driving something; riding something; playing music; fighting with someone; hitting
someone; kissing someone; hugging someone; wearing something; putting on clothes; smiling; looking at something;
watching something; painting something; building something; breaking something; buying something; typing; thinking
about something; owning something; weighing something; tying something; scratching the head; shaking hands; combing
hair; peeling something; arguing with someone; taking a photograph; knitting; wiping something; sweeping the floor;
pouring something; digging; shooting a gun; stretching; nodding; yawning
"""
_SOMETHING = """
burning; breaking; exploding; melting; glowing; flashing; growing; getting bigger; shrinking; getting smaller;
appearing; disappearing; changing colour; dripping; flowing; leaking; swinging back and forth; hanging; swaying;
circling around something; colliding with something; crashing into something; being cut; being painted; being eaten;
being washed; barking; driving along; floating on water; sinking; bending; stretching; tearing; being filled; being
empty; making a noise; smoking; being broken; losing air; bursting; ringing; getting wet; costing money; containing
something; belonging to someone
"""

OTHERS = tuple(
    f"{who} {' '.join(what.split())}"
    for who, whats in (("someone", _SOMEONE), ("something", _SOMETHING))
    for what in whats.split(";")
)
"""Of what motion knows nothing."""

ROLES: dict[str, tuple[str, ...]] = {
    action: tuple(dict.fromkeys((action, PAIRS.get(action, action)))) for action in SENTENCES
}
"""What is asked for → what motion may have recognised of whoever the prompt is about."""
