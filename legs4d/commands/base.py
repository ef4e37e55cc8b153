"""What all commands that write have in common."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict

from legs4d.commands.values import PLACE
from legs4d.config import Settings
from legs4d.settings import put


class Command(BaseModel):
    """Fields exactly as named: no other ones, and no conversions (a number is not text)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def places(cls) -> list[str]:
        """Names of the fields that hold a path, or several."""
        return [name for name, field in cls.model_fields.items() if PLACE in (*field.metadata, *_marks(field))]


def _marks(field: Any) -> list[Any]:
    return [mark for kind in get_args(field.annotation) for mark in getattr(kind, "__metadata__", ())]


class WithSettings(Command):
    """A command with settings, some of which have an option of their own."""

    SHORT: ClassVar[dict[str, str]] = {}
    """Option → the dotted key of `settings` that it stands for; the option wins."""

    settings: Settings = Settings()

    def asked(self) -> dict[str, Any]:
        """The settings that were asked for, and no others, nested, with what the options say."""
        found: dict[str, Any] = self.settings.model_dump(exclude_unset=True)
        for option, key in self.SHORT.items():
            if (value := getattr(self, option)) is not None:
                put(found, key, value)
        return found
