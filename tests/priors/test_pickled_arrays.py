"""Pickles of arrays are read without unpickling; anything else in them is refused."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from legs4d.priors.fetching.pickled_arrays import flat, read_pickled_arrays
from legs4d.priors.graphs.graph import GraphError


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/legs4d-was-here",)


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_in_dictionaries(protocol: int) -> None:
    values = {
        "a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.asfortranarray(np.eye(3))},
        "c": np.array([1, 2], ">i4"),
        "half": np.array(0.5, np.float16),
    }
    found = flat(read_pickled_arrays(pickle.dumps(values, protocol=protocol)))
    assert list(found) == ["a.kernel", "a.b", "c", "half"]
    for name, value in flat(values).items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype


@pytest.mark.parametrize("value", [{"a": Harm()}, {"a": np.array([Harm()])}, {"a": {1, 2}}, {"a": range(3)}])
def test_what_is_no_array_is_refused(value: object) -> None:
    with pytest.raises(GraphError, match=r"holds more than arrays|is damaged"):
        read_pickled_arrays(pickle.dumps(value, protocol=3))
    assert not os.path.exists("/tmp/legs4d-was-here")


def test_damaged_files() -> None:
    data = pickle.dumps({"a": np.zeros(100)}, protocol=3)
    for cut in (1, 50, len(data) - 3):
        with pytest.raises(GraphError, match=r"damaged|cut short"):
            read_pickled_arrays(data[:-cut])
    with pytest.raises(GraphError):
        read_pickled_arrays(b"no pickle at all")
    with pytest.raises(GraphError, match="no arrays by name"):
        read_pickled_arrays(pickle.dumps(3, protocol=3))
