"""What settings of all stages share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Immutable, finite, and without room for misspelt names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LearningRates(Settings):
    """Adam's step sizes for raw parameters."""

    means: float = 1.6e-4
    """Times the stage's radius (Kerbl et al. 2023)."""
    quats: float = 1e-3
    scales: float = 5e-3
    """Of the logarithm."""
    opacities: float = 0.05
    """Of the logit."""
    colors: float = 2.5e-3
    """Of the SH DC coefficients."""


def merged(settings: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Nested settings, and more on top of them."""
    nested = {name: merged(settings[name], value) if isinstance(value, dict) else value for name, value in more.items()}
    return {**settings, **nested}
