"""Diffusion over windows: a conditioner graph once per window, a denoiser graph at every step.

Families of this kind (U-Net, DiT) differ in their networks only. Their graphs have at least these tensors:

conditioner: `music` (window, F), `music_mask` (window), `text` (E), `has_music` (1), `has_text` (1); its outputs are
the inputs of the denoiser that have `Null.ENCODED`.
denoiser: `x` (window, C), `t` (1); optionally `prior` (window, C + 1) with its mask as last channel, `known` and
`known_mask` (window, C), `rhythm` (window, 4 or 8: `choreo.music.beats.RHYTHM_WIDTHS`), `frame_mask` (window).
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.guidance import TEXT_ONLY
from choreo.diffusion.parameters import DiffusionParameters
from choreo.diffusion.samplers import sampler
from choreo.diffusion.trajectory import OVERLAP, Plan, ReverseProcess
from choreo.diffusion.windows import timeline_length, window_starts
from choreo.errors import InvalidArtifact
from choreo.generators.base import (
    Conditioning,
    GenerationRequest,
    Generator,
    NotForThisModel,
    Row,
    RowCache,
    Tensors,
    Trajectory,
)
from choreo.generators.given_frames import GivenFrames, given_frames
from choreo.generators.spec import GeneratorSpec, GraphSpec, Null, Shapes
from choreo.generators.timelines import (
    arriving,
    extended,
    normalized_known,
    normalized_prior,
    window_text,
    with_given,
)
from choreo.music.beats import RHYTHM_CHANNELS, RHYTHM_WIDTHS, beat_phase_channels

if TYPE_CHECKING:
    from choreo.generators.network import GeneratorNetwork

FULL_BONES_BELOW: Final = 0.3
"""Noise up to which predictions have bones of full length (`Plan.full_bones_below`)."""
CONDITIONER: Final = "conditioner"
DENOISER: Final = "denoiser"
DISTILLED: Final = "distilled"
"""Parameter of the specs of generators whose guidance is within their weights (see `generators.config.Distilled`)."""
_CONDITIONER_INPUTS: Final = frozenset({"music", "music_mask", "text", "has_music", "has_text"})
_STEP_INPUTS: Final = frozenset({"x", "t"})

Array = NDArray[np.float32]


class WindowedDiffusion(Generator):
    """Base of the families whose requests are a reverse process over overlapping windows."""

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__(spec)
        DiffusionParameters.of(spec)
        try:
            self.conditioner, self.denoiser = spec.graph(CONDITIONER), spec.graph(DENOISER)
        except KeyError as error:
            raise InvalidArtifact(f"{spec.name}: its spec has no graph {error.args[0]!r}") from error
        _check_inputs(spec, self.conditioner, _CONDITIONER_INPUTS, frozenset())
        encoded = frozenset(t.name for t in self.denoiser.inputs if t.null is Null.ENCODED)
        _check_inputs(spec, self.denoiser, _STEP_INPUTS | encoded, frozenset(_timeline_shapes(spec)))
        for name, shape in _timeline_shapes(spec, self.rhythm_channels).items():
            if self.denoiser.input_shapes.get(name, shape) != shape:
                raise InvalidArtifact(f"{spec.name}: the input {name!r} of its denoiser must have the shape {shape}")
        if missing := encoded - self.conditioner.output_shapes.keys():
            raise InvalidArtifact(f"{spec.name}: its conditioner has no output {min(missing)!r}")
        if len(self.denoiser.outputs) != 1 or self.denoiser.outputs[0].shape != (spec.window, spec.channels):
            raise InvalidArtifact(f"{spec.name}: its denoiser must have one output of shape (window, channels)")

    @property
    def rhythm_channels(self) -> int:
        """Rhythm channels that the denoiser takes, from the first one on.

        Raises:
            InvalidArtifact: a number that is not in `RHYTHM_WIDTHS`.
        """
        shape = self.denoiser.input_shapes.get("rhythm", (self.spec.window, RHYTHM_CHANNELS))
        if len(shape) != 2 or shape[1] not in RHYTHM_WIDTHS:
            widths = " or ".join(str(width) for width in RHYTHM_WIDTHS)
            raise InvalidArtifact(
                f"{self.spec.name}: the input 'rhythm' of its denoiser must have {widths} channels, got shape {shape}"
            )
        return shape[1]

    @classmethod
    def untrained(cls, trained: Any) -> "GeneratorNetwork":
        """A linear denoiser where the denoiser has a Gaussian model of the data, which is fitted before training."""
        blank = super().untrained(trained)
        gaussian = getattr(blank.denoiser, "gaussian", None)
        if gaussian is not None:
            gaussian.load_state_dict(trained.denoiser.gaussian.state_dict())
        return blank

    def begin(
        self, request: GenerationRequest, conditioning: Conditioning, cache: RowCache | None = None
    ) -> Trajectory:
        """Condition the windows that `cache` does not know, then denoise."""
        return ConditionedTrajectory(self, request, conditioning, cache)

    def plan(self, request: GenerationRequest) -> Plan:
        """How the request is denoised.

        Raises:
            InvalidInput: unknown sampler.
            NotForThisModel: separate guidance of a distilled generator.
        """
        for name in ("text_guidance", "music_guidance"):
            if getattr(request, name) is not None and self.spec.parameters.get(DISTILLED):
                raise NotForThisModel(
                    name, f"is not for the model {self.spec.name}, whose guidance is within its weights"
                )
        return plan_of(request, FULL_BONES_BELOW)

    def conditioner_inputs(self, conditioning: Conditioning, starts: Sequence[int], text_only: bool = False) -> Tensors:
        """Inputs of a row per window, with `text_only` of one more per window without music, and of the null row.

        The text-only row's denoiser inputs are those of the null row except for what the conditioner makes of its text:
        no rhythm and no prior, whose retrieval went by the music as well.
        """
        spec, count = self.spec, len(starts)
        windows = [_window_music(conditioning, start, spec) for start in starts]
        texts = [window_text(conditioning, start, spec) for start in starts]
        nothing = np.zeros(spec.text_dim, np.float32)
        inputs = {
            "music": np.stack([music for music, _ in windows]),
            "music_mask": np.stack([mask for _, mask in windows]),
            "text": np.stack([nothing if text is None else text for text in texts]),
            "has_music": np.full((count, 1), conditioning.music is not None, np.float32),
            "has_text": np.array([[text is not None] for text in texts], np.float32),
        }
        # A window that starts after the song has ended has no music.
        silent = inputs["music_mask"].sum(axis=1) == 0
        inputs["has_music"][silent], inputs["music_mask"][silent] = 0, 1
        rows = {t.name: _with_null_row(inputs[t.name], t.null) for t in self.conditioner.inputs}
        return _with_text_rows(rows) if text_only else rows

    def given(self, request: GenerationRequest, num_frames: int) -> GivenFrames:
        """The frames that a request gives.

        Raises:
            InvalidInput: see `given_frames`.
            NotForThisModel: this generator takes none.
        """
        if request.constraints and not {"known", "known_mask"} <= self.denoiser.input_shapes.keys():
            raise NotForThisModel("constraints", f"are not for the model {self.spec.name}, which takes no given frames")
        return given_frames(request.start, request.constraints, num_frames, self.spec.fps)

    def timelines(
        self, request: GenerationRequest, conditioning: Conditioning, length: int, given: GivenFrames | None = None
    ) -> Tensors:
        """Inputs of the denoiser that are cut from the timeline, each (length, channels).

        Args:
            request: what is asked for.
            conditioning: song and sentences.
            length: frames.
            given: what is known; None: what the request gives.
        """
        given = self.given(request, conditioning.num_frames) if given is None else given
        known, known_mask = normalized_known(given, length, self.spec)
        rhythm = beat_phase_channels(
            conditioning.beats, conditioning.onset, conditioning.num_frames, self.spec.fps, conditioning.downbeats
        )
        every = {
            "prior": normalized_prior(request, length, self.spec),
            "known": known,
            "known_mask": known_mask,
            "rhythm": extended(rhythm[:, : self.rhythm_channels], length),
            "frame_mask": np.ones(length, np.float32),
        }
        return {name: values for name, values in every.items() if name in self.denoiser.input_shapes}


class ConditionedTrajectory:
    """A `Trajectory` of two phases: rows of the conditioner that are not known yet, then the reverse process."""

    def __init__(
        self,
        generator: WindowedDiffusion,
        request: GenerationRequest,
        conditioning: Conditioning,
        cache: RowCache | None,
        given: GivenFrames | None = None,
    ) -> None:
        """A request at its beginning.

        Args:
            generator: whose graphs are evaluated.
            request: what is asked for.
            conditioning: song and sentences.
            cache: rows of the conditioner that were evaluated before.
            given: frames that are known, and whose places are arrived at; None: what the request gives.
        """
        self._generator, self._cache, spec = generator, cache, generator.spec
        self.deadline, self.weight = request.deadline, request.weight
        self._num_frames = conditioning.num_frames
        self._plan = generator.plan(request)
        self._constrained = bool(request.constraints) or given is not None
        self._given = generator.given(request, conditioning.num_frames) if given is None else given
        self._starts = window_starts(conditioning.num_frames, spec.window, OVERLAP)
        length = timeline_length(self._starts, spec.window)
        self._timelines = generator.timelines(request, conditioning, length, self._given)
        kinds = len(self._plan.row_weights)
        self._inputs = generator.conditioner_inputs(conditioning, self._starts, text_only=kinds > TEXT_ONLY)
        self._keys = [_row_key(self._inputs, row, spec.name) for row in range(len(self._inputs["text"]))]
        wanted = dict.fromkeys(self._keys if kinds > 1 else self._keys[:-1])
        self._known = {key: row for key in wanted if cache is not None and (row := cache.get(key)) is not None}
        self._missing = [key for key in wanted if key not in self._known]
        self._added: dict[bytes, Row] = {}
        self._conditioned = 0
        self._process: ReverseProcess | None = None
        if not self._missing:
            self._denoise()

    @property
    def graph(self) -> str:
        """The conditioner's, then the denoiser's."""
        return CONDITIONER if self._process is None else self._process.graph

    @property
    def rows(self) -> int:
        """Rows of this step; 0 when done."""
        return len(self._missing) if self._process is None else self._process.rows

    @property
    def complete(self) -> bool:
        """Whether every row of this step has been added."""
        return len(self._added) == len(self._missing) if self._process is None else self._process.complete

    @property
    def done(self) -> bool:
        """Whether the last step was made."""
        return self._process is not None and self._process.done

    @property
    def progress(self) -> str:
        """Where it is, for messages."""
        return "conditioning" if self._process is None else self._process.progress

    @property
    def evaluated(self) -> Mapping[str, int]:
        """Rows that were evaluated so far, by graph."""
        denoised = {} if self._process is None else self._process.evaluated
        return {CONDITIONER: self._conditioned, DENOISER: 0, **denoised}

    def fill_constant(self, row: int, inputs: Mapping[str, Array], at: int) -> None:
        """Write what does not change between the steps of a graph."""
        if self._process is not None:
            return self._process.fill_constant(row, inputs, at)
        source = self._keys.index(self._missing[row])
        for name, values in self._inputs.items():
            inputs[name][at] = values[source]

    def fill_step(self, row: int, inputs: Mapping[str, Array], at: int) -> None:
        """Write what changes from step to step: nothing for the conditioner."""
        if self._process is not None:
            self._process.fill_step(row, inputs, at)

    def add(self, row: int, outputs: Mapping[str, Array]) -> None:
        """Take in the outputs of one row of this step."""
        if self._process is not None:
            return self._process.add(row, outputs)
        self._added[self._missing[row]] = {name: np.array(values) for name, values in outputs.items()}
        self._conditioned += 1

    def advance(self) -> None:
        """Make the step, which is complete, and begin the next one."""
        if self._process is not None:
            return self._process.advance()
        for key, row in self._added.items():
            if self._cache is not None:
                self._cache.put(key, row)
        self._denoise()

    def repeat(self) -> None:
        """Forget what was added to this step."""
        self._added.clear() if self._process is None else self._process.repeat()

    def result(self) -> Array:
        """Features (num_frames, C), not normalised: given frames as they are, and eased into their neighbours."""
        assert self._process is not None
        x: NDArray[np.floating] = self._process.result()[: self._num_frames]
        if "known" in self._timelines:
            known, mask = (self._timelines[name][: self._num_frames] for name in ("known", "known_mask"))
            x = with_given(x, known, mask, self._given)
        x = self._led(x) if self._constrained else x
        return self._generator.spec.denormalize(x).astype(np.float32)

    def sampled(self) -> Array:
        """Features (num_frames, C), not normalised, as the last step left them: given frames are not yet eased in."""
        assert self._process is not None
        return self._generator.spec.denormalize(self._process.result()[: self._num_frames]).astype(np.float32)

    def _led(self, x: NDArray[np.floating]) -> Array:
        """Predictions (length, C), normalised, whose root arrives where it is given; see `given_frames.led`."""
        known, mask = (self._timelines[name][: len(x)] for name in ("known", "known_mask"))
        return arriving(x, known, mask, self._given, self._generator.spec)

    def _denoise(self) -> None:
        """Begin the reverse process; the null row is there where guidance needs it."""
        rows = self._known | self._added
        used = [rows[key] for key in self._keys if key in rows]
        encoded = {name: np.stack([row[name] for row in used]) for name in used[0]}
        spec, denoiser = self._generator.spec, self._generator.denoiser
        adjust = self._led if self._constrained else None
        self._process = ReverseProcess(spec, denoiser, self._plan, self._starts, encoded, self._timelines, adjust)


def plan_of(request: GenerationRequest, full_bones_below: float = 0.0) -> Plan:
    """How a request is denoised.

    Raises:
        InvalidInput: unknown sampler.
    """
    return Plan(
        sampler=sampler(request.sampler),
        num_steps=request.num_steps,
        guidance_scale=request.guidance_scale,
        text_guidance=request.text_guidance,
        music_guidance=request.music_guidance,
        guidance_interval=request.guidance_interval,
        seed=request.seed,
        deadline=request.deadline,
        weight=request.weight,
        full_bones_below=full_bones_below,
    )


def _timeline_shapes(spec: GeneratorSpec, rhythm_channels: int = RHYTHM_CHANNELS) -> Shapes:
    """Inputs that a denoiser may have in addition, by name."""
    frame, window = (spec.window, spec.channels), spec.window
    return {
        "prior": (window, spec.channels + 1),
        "known": frame,
        "known_mask": frame,
        "rhythm": (window, rhythm_channels),
        "frame_mask": (window,),
    }


def _check_inputs(spec: GeneratorSpec, graph: GraphSpec, needed: frozenset[str], optional: frozenset[str]) -> None:
    names = graph.input_shapes.keys()
    if missing := needed - names:
        raise InvalidArtifact(f"{spec.name}: its {graph.name} has no input {min(missing)!r}")
    if unknown := names - needed - optional:
        raise InvalidArtifact(f"{spec.name}: nothing is known of the input {min(unknown)!r} of its {graph.name}")


def _row_key(inputs: Tensors, row: int, name: str) -> bytes:
    """Hash of one row of the conditioner's inputs, and of the generator that they go to."""
    digest = hashlib.blake2b(name.encode(), digest_size=20)
    for tensor in sorted(inputs):
        digest.update(tensor.encode())
        digest.update(np.ascontiguousarray(inputs[tensor][row]).tobytes())
    return digest.digest()


def _with_null_row(values: Array, null: Null) -> Array:
    row = np.ones_like(values[:1]) if null is Null.ONES else np.zeros_like(values[:1])
    return np.concatenate([values, values[:1] if null is Null.SAME else row])


def _with_text_rows(rows: Tensors) -> Tensors:
    """Rows with one more for every conditional one, before the null row: its text, and all else as in the null row."""
    made = {}
    for name, values in rows.items():
        windows, null = values[:-1], values[-1:]
        text_only = windows if name in ("text", "has_text") else np.broadcast_to(null, windows.shape)
        made[name] = np.concatenate([windows, text_only, null])
    return made


def _window_music(conditioning: Conditioning, start: int, spec: GeneratorSpec) -> tuple[Array, Array]:
    """Music frames (window, F) and their mask (window,); zeros and a full mask without a song."""
    features = np.zeros((spec.window, spec.music_dim), np.float32)
    mask = np.zeros(spec.window, np.float32)
    if conditioning.music is None:
        mask[:] = 1
        return features, mask
    part = conditioning.music[start : start + spec.window]
    features[: len(part)] = part
    mask[: len(part)] = 1
    return features, mask
