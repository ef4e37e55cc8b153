"""docs/settings.md is what the models of `legs4d.config` say."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from legs4d.cli import app
from legs4d.cli.settings import all_settings, page
from legs4d.config import FULL_TRACKING, TrainSettings
from legs4d.settings import keys_of

PAGE = Path(__file__).resolve().parents[2] / "docs/settings.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "legs4d settings --page > docs/settings.md"


def test_every_setting_is_told_once_and_by_its_key() -> None:
    assert sorted(one.key for one in all_settings()) == sorted(keys_of(TrainSettings))


def test_a_setting_is_told_with_values_defaults_and_what_it_is() -> None:
    told = CliRunner().invoke(app, ["settings", "reconstruct.tracking.averaging", "--json"])
    (averaging,) = json.loads(told.stdout)
    assert (averaging["kind"], averaging["default"]) == ("float ≥ 0 < 1", "0")
    assert averaging["full"] == str(FULL_TRACKING.averaging)
    assert averaging["about"] == "As in the first frame; the running mean is of the fine half's second half."


def test_a_key_that_there_is_not_is_said() -> None:
    told = CliRunner().invoke(app, ["settings", "nothing"])
    assert told.exit_code == 1 and "no setting begins with 'nothing'" in told.stderr
