"""The `legs4d` command line."""
# ruff: noqa: I001  # imported in the order of --help, as importing a file registers its commands

from legs4d.cli.command import app
from legs4d.cli import making, asking, showing, serving

__all__ = ["app", "asking", "making", "serving", "showing"]
