"""`python -m legs4d` is `legs4d`."""

from legs4d.cli import app

app()
