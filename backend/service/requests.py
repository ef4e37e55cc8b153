"""The bodies of all requests, as README.md describes them: what a client sends is checked here before it is used."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from backend.bodies import Precision
from backend.jobs.kinds import JOB_KINDS, JobKind
from backend.service.errors import BackendError
from backend.wire import MAX_ID, MAX_WINDOW, Code, Kind
from legs4d.commands import FrameNumber
from legs4d.gaussians.names import LONGEST_NAME
from legs4d.portable.averaging import MOST_REACH
from legs4d.settings import problem

Name = Annotated[str, Field(min_length=1, max_length=1024)]
"""Of a run, dataset or output; what else it must be is decided in paths.py."""
JobId = Annotated[str, Field(min_length=1, max_length=64)]
Window = Annotated[int, Field(ge=1, le=MAX_WINDOW)]
RequestId = Annotated[int, Field(ge=1, le=MAX_ID)]


class Body(BaseModel):
    """Fields exactly as documented: no other ones, and no conversions (a number is not a string)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Empty(Body):
    pass


class Page(Body):
    after: Name | None = None
    limit: int = Field(default=1000, ge=1, le=1000)


class JobPage(Body):
    after: JobId | None = None
    limit: int = Field(default=500, ge=1, le=500)


class Hello(Body):
    client: str = Field(max_length=100)
    version: str = Field(max_length=100)


class Open(Body):
    run: Name


class Frames(Body):
    run: Name
    frames: list[FrameNumber] | None = Field(default=None, max_length=20_000)
    around: FrameNumber | None = None
    precision: Precision = "float32"
    window: Window = 8
    revision: str | None = Field(default=None, max_length=100)


class Query(Body):
    run: Name
    prompt: str = Field(min_length=1, max_length=1000)
    layer: str = Field(default="", max_length=100)
    around: FrameNumber | None = None
    window: Window = 8
    per_gaussian: bool = True
    compress: Literal["zstd"] | None = None
    revision: str | None = Field(default=None, max_length=100)


class Meant(Body):
    run: Name
    prompt: str = Field(min_length=1, max_length=1000)
    scale: float | None = Field(default=None, ge=0, le=1)
    revision: str | None = Field(default=None, max_length=100)


Bits = Annotated[bytes, Field(max_length=200_000)]
"""One bit a Gaussian, the first in the highest of the first byte, deflated (zlib)."""


class Keep(Body):
    run: Name
    revision: str = Field(max_length=100)
    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    points: Bits
    again: bool = False


SceneFrame = Annotated[int, Field(gt=-(2**31), lt=2**31)]
"""Of a client's own timeline."""
Unit = Annotated[float, Field(ge=0, le=1)]
Color = Annotated[list[Unit], Field(min_length=3, max_length=3)]
Row = Annotated[list[float], Field(min_length=4, max_length=4)]
Rows = Annotated[list[Row], Field(min_length=4, max_length=4)]
RenderPass = Literal["combined", "alpha", "depth", "highlight", "masks"]


class RenderSample(Body):
    frame: float = Field(ge=0, lt=2**31)
    fx: float = Field(gt=0)
    fy: float = Field(gt=0)
    cx: float
    cy: float
    static: Rows | None = None
    dynamic: Rows | None = None
    loose: Rows | None = None


class RenderLayer(Body):
    name: str = Field(min_length=1, max_length=100)
    prompt: str = Field(min_length=1, max_length=1000)
    threshold: Unit | None = None
    softness: Unit = 0.1
    strength: Unit = 1.0
    color: Color = [1.0, 0.25, 0.02]


class RenderLook(Body):
    tint: Unit = 1.0
    desaturate: Unit = 0.0
    isolate: Unit = 0.0
    outline: Unit = 0.0


class RenderLoosePoints(Body):
    frame: FrameNumber
    points: Bits


class RenderPoints(Body):
    """Some of a run's Gaussians; all of those that are not told of."""

    static: Bits | None = None
    dynamic: Bits | None = None
    loose: list[RenderLoosePoints] = Field(default_factory=list, max_length=64)


Channels = Annotated[list[Annotated[float, Field(ge=-100, le=100)]], Field(min_length=3, max_length=3)]


class RenderLimits(Body):
    largest: float | None = Field(default=None, gt=0)
    slenderness: float | None = Field(default=None, ge=1)
    nearest: float | None = Field(default=None, gt=0)
    farthest: float | None = Field(default=None, gt=0)


class RenderGrade(Body):
    layer: str = Field(default="", max_length=100)
    points: RenderPoints | None = None
    ramp: Annotated[list[Annotated[float, Field(ge=-1e12, le=1e12)]], Field(min_length=4, max_length=4)] | None = None
    strength: Unit = 1.0
    exposure: float = Field(default=0.0, ge=-20, le=20)
    hue: float = Field(default=0.0, ge=-100, le=100)
    saturation: float = Field(default=1.0, ge=0, le=100)
    lift: Channels = [0.0, 0.0, 0.0]
    gamma: Channels = [1.0, 1.0, 1.0]
    gain: Channels = [1.0, 1.0, 1.0]


class Render(Body):
    run: Name
    revision: str | None = Field(default=None, max_length=100)
    width: int = Field(ge=1, le=16_384)
    height: int = Field(ge=1, le=16_384)
    crop: Annotated[list[FrameNumber], Field(min_length=4, max_length=4)] | None = None
    samples: list[RenderSample] = Field(min_length=1, max_length=64)
    passes: list[RenderPass] = Field(min_length=1, max_length=5)
    layers: list[RenderLayer] = Field(default_factory=list, max_length=256)
    look: RenderLook = Field(default_factory=RenderLook)
    kept: RenderPoints | None = None
    limits: RenderLimits | None = None
    grades: list[RenderGrade] = Field(default_factory=list, max_length=28)
    degree: int = Field(default=3, ge=0, le=3)
    average: int = Field(default=0, ge=0, le=MOST_REACH)
    background: Color | None = None
    antialiased: bool = False
    view: str = Field(default="", max_length=100)


class ClientCut(Body):
    name: str = Field(min_length=1, max_length=1000)
    start: SceneFrame
    end: SceneFrame
    peak: SceneFrame
    score: Unit


class CutList(Body):
    name: str = Field(min_length=1, max_length=1000)
    fps: float = Field(gt=0, le=10_000)
    folder: str = Field(min_length=1, max_length=4096)
    pictures: list[str] = Field(min_length=2, max_length=2)
    first: SceneFrame
    last: SceneFrame
    cuts: list[ClientCut] = Field(max_length=10_000)


class Upload(Body):
    name: str = Field(min_length=1, max_length=1024)
    bytes: int = Field(ge=1, lt=2**53)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    offset: int = Field(default=0, ge=0, lt=2**53)
    folder: str | None = Field(default=None, min_length=1, max_length=100)


class Aim(Body):
    request: RequestId
    around: FrameNumber


class Credit(Body):
    request: RequestId
    frames: int = Field(ge=1, le=MAX_WINDOW)


class Cancel(Body):
    request: RequestId


class Submission(Body):
    """What every request has that submits a job; `JOBS` adds the command's own fields."""

    priority: int = Field(default=0, ge=-100, le=100)
    ticket: str | None = Field(default=None, min_length=1, max_length=64)


class OnDevice(Submission):
    device: str = Field(default="auto", min_length=1, max_length=20)


def _submission(job: JobKind) -> type[Submission]:
    bases: Any = (OnDevice if job.on_device else Submission, job.command)
    return create_model(job.command.__name__, __base__=bases)


JOBS: dict[str, type[Submission]] = {kind: _submission(job) for kind, job in JOB_KINDS.items()}
"""Bodies of the requests that submit a job: what its command can be told, and what every submission can."""


class JobName(Body):
    job: JobId


class Prioritise(Body):
    job: JobId
    priority: int = Field(ge=-100, le=100)


class JobLog(Body):
    job: JobId
    offset: int = Field(default=0, ge=0, le=2**62)


class Subscribe(Body):
    job: JobId | None = None
    log: bool = False


BODIES: dict[str, type[Body]] = {
    **JOBS,
    Kind.HELLO: Hello,
    Kind.RUNS: Page,
    Kind.DATASETS: Page,
    Kind.OPEN: Open,
    Kind.FRAMES: Frames,
    Kind.QUERY: Query,
    Kind.THINGS: Open,
    Kind.MEANT: Meant,
    Kind.KEEP: Keep,
    Kind.RENDER: Render,
    Kind.CUT_LIST: CutList,
    Kind.UPLOAD: Upload,
    Kind.AIM: Aim,
    Kind.CREDIT: Credit,
    Kind.CANCEL: Cancel,
    Kind.JOBS: JobPage,
    Kind.JOB: JobName,
    Kind.JOB_LOG: JobLog,
    Kind.SUBSCRIBE: Subscribe,
    Kind.CANCEL_JOB: JobName,
    Kind.PAUSE_JOB: JobName,
    Kind.RESUME_JOB: JobName,
    Kind.RETRY_JOB: JobName,
    Kind.PRIORITISE_JOB: Prioritise,
    Kind.STATUS: Empty,
}


def read_body(kind: str, body: dict[str, Any]) -> Body:
    """The checked body of a request. Raises BackendError, which names the first field that is wrong."""
    try:
        return BODIES[kind].model_validate(body)
    except ValidationError as error:
        what, fix = problem(error, BODIES[kind])
        raise BackendError(what, where=f"the body of '{kind}'", fix=fix, code=Code.BODY) from None
