"""Arrays into point attributes and out of them."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

_FIELD = {
    **{"FLOAT": "value", "FLOAT_VECTOR": "vector", "QUATERNION": "value", "FLOAT4": "vector"},
    **{"BOOLEAN": "value", "INT": "value", "INT8": "value"},
}
_WIDTH = {"FLOAT": 1, "FLOAT_VECTOR": 3, "QUATERNION": 4, "FLOAT4": 4, "BOOLEAN": 1, "INT": 1, "INT8": 1}
_DTYPE = {"BOOLEAN": np.dtype(bool), "INT": np.dtype(np.int32), "INT8": np.dtype(np.int8)}
"""Of those that are no float32."""


class AttributeProblem(Exception):
    """An attribute does not fit its points; the message is one sentence for the panel."""


def ensure(cloud: bpy.types.PointCloud, name: str, data_type: Any) -> Any:
    """The cloud's point attribute of this name, made if absent; one of another type or domain is replaced."""
    attribute: Any = cloud.attributes.get(name)
    if attribute is not None and (attribute.data_type != data_type or attribute.domain != "POINT"):
        cloud.attributes.remove(attribute)
        attribute = None
    return attribute or cloud.attributes.new(name, data_type, "POINT")


def write(cloud: bpy.types.PointCloud, name: str, data_type: str, values: np.ndarray[Any, Any]) -> None:
    """Set an attribute.

    Args:
        values: float32 (bool for BOOLEAN, int32 for INT, int8 for INT8), C-ordered, as many numbers as points times the
            type's width; anything else would be copied number by number.

    AttributeProblem if the number of points is another: the cloud was edited.
    """
    points = len(cloud.points)
    if values.size != points * _WIDTH[data_type]:
        raise AttributeProblem(
            f"'{cloud.name}' was edited: it has {points} points instead of {values.size // _WIDTH[data_type]}; "
            "undo that, or import the run again"
        )
    if points:
        ensure(cloud, name, data_type).data.foreach_set(_FIELD[data_type], values.reshape(-1))


def read(cloud: bpy.types.PointCloud, name: str) -> np.ndarray[Any, Any]:
    """[points] or [points, width] values of an attribute, float32, bool, int32 or int8. KeyError if there is none."""
    attribute: Any = cloud.attributes[name]
    width = _WIDTH[attribute.data_type]
    values = np.empty(len(cloud.points) * width, _DTYPE.get(attribute.data_type, np.float32))
    if values.size:
        attribute.data.foreach_get(_FIELD[attribute.data_type], values)
    return values.reshape(-1, width) if width > 1 else values


def remove(cloud: bpy.types.PointCloud, name: str) -> None:
    """Remove an attribute if it is there."""
    attribute: Any = cloud.attributes.get(name)
    if attribute is not None:
        cloud.attributes.remove(attribute)
