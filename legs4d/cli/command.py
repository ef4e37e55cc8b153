"""The `legs4d` command itself. Its commands are in the files beside this one, each by who uses them.

Commands import what they need inside, so that `--help` and `query` do not wait for torch.
"""

from __future__ import annotations

import typer

from legs4d.terminal import SentenceGroup

app = typer.Typer(
    cls=SentenceGroup,
    help="Dynamic 3D Gaussians with language: train on multi-view footage, ask when and where something happens.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
