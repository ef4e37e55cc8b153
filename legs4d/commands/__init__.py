"""What the commands that write can be told: one model a command, for the command line, `submit`, jobs and the panel.

A command's name is its job kind's. Paths are text here: on the command line a path of this machine, in a job a name
under the server's roots. What a command is done with (engine, cluster, device) is no part of it.
"""

from legs4d.commands.base import Command, WithSettings
from legs4d.commands.exchange import Export, Import4legs, ImportD3dgs, ImportSplats
from legs4d.commands.making import Animate, Object, Video
from legs4d.commands.things import Name, Segment, Segments
from legs4d.commands.training import Extract, Lift, Objects, Reconstruct, Train
from legs4d.commands.values import FrameNumber

__all__ = [
    "Animate",
    "Command",
    "Export",
    "Extract",
    "FrameNumber",
    "Import4legs",
    "ImportD3dgs",
    "ImportSplats",
    "Lift",
    "Name",
    "Object",
    "Objects",
    "Reconstruct",
    "Segment",
    "Segments",
    "Train",
    "Video",
    "WithSettings",
]
