"""The `legs4d` command line."""
# ruff: noqa: I001  # imported in the order of --help, as importing a file registers its commands

from legs4d.cli.command import app
from legs4d.cli import making, generating, importing, asking, segmenting, animating, filming, showing
from legs4d.cli import inspecting, settings, priors, serving
from legs4d.cli import submitting  # after all whose commands can be submitted

__all__ = [
    "animating",
    "app",
    "asking",
    "filming",
    "generating",
    "importing",
    "inspecting",
    "making",
    "priors",
    "segmenting",
    "serving",
    "settings",
    "showing",
    "submitting",
]
