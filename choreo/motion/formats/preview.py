"""Drawing dancers: shaded figures of rounded limbs on a floor grid, one image per frame.

A frame begins with the stage (`choreo.motion.formats.stage`), adds a soft shadow, and draws the figures at twice the
size in their bounding rectangle only, which is then halved: smooth edges at a fraction of the cost of a large canvas.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter1d

from choreo.errors import InvalidInput
from choreo.motion import rotations as rot
from choreo.motion.clip import Motion
from choreo.motion.formats.camera import Camera, frame_dancers
from choreo.motion.formats.lettering import Lettering
from choreo.motion.formats.marks import Marks
from choreo.motion.formats.stage import Stage
from choreo.motion.performance import Performance
from choreo.motion.skeleton import HEAD, L_SHOULDER, NECK, NUM_JOINTS, PELVIS, R_SHOULDER

Array = NDArray[np.float64]
Colour = tuple[int, int, int]


class Palette(NamedTuple):
    """Colours of a dancer's left limbs, right limbs and torso."""

    left: Colour
    right: Colour
    centre: Colour


LEFT: Final[Colour] = (255, 138, 92)
RIGHT: Final[Colour] = (76, 178, 255)
CENTRE: Final[Colour] = (236, 232, 224)
HUES: Final = (0.0, 0.25, 0.125, 0.375, 0.0625, 0.3125, 0.1875, 0.4375)
"""How far the hues of dancer 0, 1, ... are turned from LEFT and RIGHT. Those two are half a turn apart, so only turns
of less than a half give new pairs."""
TEXT: Final[Colour] = (214, 217, 226)

GLINT: Final = np.array([-0.30, -0.34])
"""Direction of the highlights in the image: towards the light, above on the left."""
LABEL_HEIGHT: Final = 0.27
"""Lower edge of a dancer's label above the head joint, metres."""
SUPERSAMPLE: Final = 2
SHADOW_SCALE: Final = 4
SHADOW_STRENGTH: Final = 190

# Points in addition to the 22 joints; see `body_points`.
JAW, CROWN, NOSE, L_TOE, R_TOE, L_HAND, R_HAND = range(NUM_JOINTS, NUM_JOINTS + 7)
NUM_POINTS: Final = NUM_JOINTS + 7


@dataclass(frozen=True)
class _Limb:
    """A capsule between two body points with its radii in metres; `side` is the position of its colour in a Palette.

    Limbs of one part are drawn together: first the dark rims of all, then their insides, so that no line runs between
    them. Parts are drawn one after the other, the nearest last.
    """

    part: str
    a: int
    b: int
    radius_a: float
    radius_b: float
    side: int


def _limbs() -> tuple[_Limb, ...]:
    centre = [
        ("torso", 0, 3, 0.108, 0.1), ("torso", 3, 6, 0.1, 0.112), ("torso", 6, 9, 0.112, 0.115),
        ("torso", 1, 2, 0.08, 0.08), ("torso", 9, NECK, 0.1, 0.052), ("torso", NECK, HEAD, 0.048, 0.046),
        ("head", JAW, CROWN, 0.072, 0.096), ("head", JAW, NOSE, 0.03, 0.018),
    ]  # fmt: skip
    left = [
        ("torso", 13, 16, 0.068, 0.058), ("arm", 16, 18, 0.052, 0.04),
        ("forearm", 18, 20, 0.04, 0.028), ("forearm", 20, L_HAND, 0.03, 0.027),
        ("thigh", 1, 4, 0.086, 0.058), ("shin", 4, 7, 0.058, 0.038),
        ("shin", 7, 10, 0.042, 0.032), ("shin", 10, L_TOE, 0.032, 0.022),
    ]  # fmt: skip
    mirror = {1: 2, 4: 5, 7: 8, 10: 11, L_TOE: R_TOE, 13: 14, 16: 17, 18: 19, 20: 21, L_HAND: R_HAND}
    limbs = [_Limb(*limb, side=2) for limb in centre]
    for part, a, b, radius_a, radius_b in left:
        shared = part == "torso"
        limbs.append(_Limb(part if shared else f"left {part}", a, b, radius_a, radius_b, 0))
        limbs.append(_Limb(part if shared else f"right {part}", mirror[a], mirror[b], radius_a, radius_b, 1))
    return tuple(limbs)


LIMBS: Final = _limbs()


@dataclass(frozen=True)
class _Layer:
    """One layer of paint on every limb.

    Attributes:
        colours: one per limb.
        width: share of the limb's radius.
        extra: pixels added to the radius.
        shift: offset towards the light, in units of `GLINT` and the limb's radius.
    """

    colours: list[Colour]
    width: float = 1.0
    extra: float = 0.0
    shift: float = 0.0


class _Limbs:
    """The limbs of N dancers as arrays over L limbs each; points of dancer k follow those of dancer k - 1.

    Attributes:
        a, b, ends: the two body points that each limb connects, also as one array (N L, 2).
        radii: (N L, 2) at these points, metres.
        colours: (N L, 3).
        parts: limbs that are drawn together.
    """

    def __init__(self, dancers: int) -> None:
        limbs = [(k, limb) for k in range(dancers) for limb in LIMBS]
        colours = [palette(k) for k in range(dancers)]
        self.a = [k * NUM_POINTS + limb.a for k, limb in limbs]
        self.b = [k * NUM_POINTS + limb.b for k, limb in limbs]
        self.ends = np.stack([self.a, self.b], axis=1)
        self.radii = np.array([(limb.radius_a, limb.radius_b) for _, limb in limbs])
        self.colours = np.array([colours[k][limb.side] for k, limb in limbs], np.float64)
        parts: dict[tuple[int, str], list[int]] = {}
        for i, (k, limb) in enumerate(limbs):
            parts.setdefault((k, limb.part), []).append(i)
        self.parts = list(parts.values())


def palette(dancer: int) -> Palette:
    """Colours of dancer 0, 1, ...: the first has LEFT, RIGHT and CENTRE, the others those of other hues."""
    if not dancer:
        return Palette(LEFT, RIGHT, CENTRE)
    turn = HUES[dancer % len(HUES)]
    left, right = _with_hue(LEFT, turn), _with_hue(RIGHT, turn)
    tint = np.array([CENTRE, CENTRE, left]).mean(axis=0).astype(int).tolist()
    return Palette(left, right, (tint[0], tint[1], tint[2]))


def _with_hue(colour: Colour, turn: float) -> Colour:
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in colour))
    r, g, b = colorsys.hls_to_rgb((hue + turn) % 1, lightness, saturation)
    return round(255 * r), round(255 * g), round(255 * b)


class Painter:
    """Draws the frames of one performance.

    Args:
        dance: positions in metres with the floor at y = 0.
        camera: None follows the performance in 640 x 640.
        title: shown at the top; what does not fit is cut.
        labels: shown above the heads, one per dancer; none without any.
        marks: whether feet that stand and beats are marked.

    Raises:
        InvalidInput: there are labels, but not one per dancer.
    """

    def __init__(
        self,
        dance: Motion | Performance,
        camera: Camera | None = None,
        title: str = "",
        labels: Sequence[str] = (),
        marks: bool = False,
    ) -> None:
        performance = Performance.of(dance)
        if labels and len(labels) != len(performance.dancers):
            raise InvalidInput("labels", f"must be {len(performance.dancers)}, one per dancer, got {len(labels)}")
        self._positions = np.asarray(performance.positions, np.float64)
        self.camera = camera or frame_dancers(performance.positions, fps=performance.fps)
        self._fps = performance.fps
        self._limbs = _Limbs(len(performance.dancers))
        height = self.camera.size[1]
        self._pad, self._letter_size = round(height / 32), max(10, round(height / 36))
        self._letters = Lettering(self._letter_size)
        self._stage = Stage(self.camera, self._centre())
        colours = [palette(dancer)[:2] for dancer in range(len(performance.dancers))]
        self._marks = Marks(performance, colours) if marks else None
        self._title = self._letters.line(title, self.camera.size[0] - 2 * self._pad)
        self._labels = [self._letters.line(label, self.camera.size[0] / 4) for label in labels]

    def paint(self, index: int) -> Image.Image:
        """Frame `index` as an RGB image of the camera's size."""
        image, camera = self._stage.paint(index), self.camera.at(index)
        points = np.concatenate([body_points(joints) for joints in self._positions[:, index]])
        self._shadow(image, points, camera)
        if self._marks is not None:
            self._marks.paint_feet(image, index, camera)
            self._marks.paint_beat(image, index)
        self._figures(image, points, camera)
        self._write(image, index)
        self._label(image, index, camera)
        return image

    def _centre(self) -> Array:
        """Middle of the dancers, (3,) over the whole performance; of a moving camera that of every frame, smoothed."""
        middle = self._positions[:, :, PELVIS].mean(axis=0)
        if self.camera.eye.ndim == 1:
            return np.asarray(middle.mean(axis=0))
        return np.asarray(gaussian_filter1d(middle, self._fps, axis=0, mode="nearest"))

    def _shadow(self, image: Image.Image, points: Array, camera: Camera) -> None:
        """Darken the floor under the bodies, less under higher limbs."""
        limbs = self._limbs
        pixels, depth = camera.project(points * (1, 0, 1))
        radii = limbs.radii * camera.focal / depth[limbs.ends]
        box = _bounds(pixels, float(radii.max()) * 2 + 4 * SHADOW_SCALE, camera.size, SHADOW_SCALE)
        if box is None:
            return
        size = ((box[2] - box[0]) // SHADOW_SCALE, (box[3] - box[1]) // SHADOW_SCALE)
        mask = Image.new("L", size)
        draw = ImageDraw.Draw(mask)
        small = (pixels - box[:2]) / SHADOW_SCALE
        shade = SHADOW_STRENGTH * np.exp(-np.maximum(points[:, 1], 0) / 0.9)
        order = np.argsort(-points[limbs.ends, 1].sum(axis=1))
        for k in order:
            radius = radii[k] * 1.3 / SHADOW_SCALE
            a, b = limbs.a[k], limbs.b[k]
            _capsule(draw, small[a], small[b], radius[0], radius[1], int((shade[a] + shade[b]) / 2))
        mask = mask.filter(ImageFilter.GaussianBlur(2.2)).resize(
            (box[2] - box[0], box[3] - box[1]), Image.Resampling.BILINEAR
        )
        image.paste((8, 9, 14), box, mask)

    def _figures(self, image: Image.Image, points: Array, camera: Camera) -> None:
        """All limbs of all dancers, the farthest first, so that dancers in a hold overlap as they should."""
        limbs = self._limbs
        pixels, depth = camera.project(points)
        radii = limbs.radii * camera.focal / depth[limbs.ends]
        box = _bounds(pixels, float(radii.max()) + 4, camera.size, 1)
        if box is None:
            return
        width, height = box[2] - box[0], box[3] - box[1]
        # Enlarging by repetition and halving by averaging leaves the untouched background exactly as it was.
        canvas = image.crop(box).resize((width * SUPERSAMPLE, height * SUPERSAMPLE), Image.Resampling.NEAREST)
        draw = ImageDraw.Draw(canvas)
        large, wide = (pixels - box[:2]) * SUPERSAMPLE, radii * SUPERSAMPLE
        middle = depth[limbs.ends].sum(axis=1) / 2
        layers = _shades(middle, limbs.colours)
        for part in sorted(limbs.parts, key=lambda part: -middle[part].mean()):
            inner = sorted(part, key=lambda k: -middle[k])
            for layer in layers:
                for k in inner:
                    (ra, rb), shift = wide[k] * layer.width + layer.extra * SUPERSAMPLE, GLINT * layer.shift
                    a, b = large[limbs.a[k]] + shift * wide[k, 0], large[limbs.b[k]] + shift * wide[k, 1]
                    _capsule(draw, a, b, ra, rb, layer.colours[k])
        image.paste(canvas.reduce(SUPERSAMPLE), box)

    def _write(self, image: Image.Image, index: int) -> None:
        """The title above, the time below."""
        (width, height), pad, draw = self.camera.size, self._pad, ImageDraw.Draw(image)
        clock = self._letters.line(f"{index / self._fps:.1f} s", width)
        self._letters.draw(draw, (pad, pad / 2), self._title, TEXT)
        self._letters.draw(draw, (width - pad - sum(run.width for run in clock), height - 2.2 * pad), clock, TEXT)

    def _label(self, image: Image.Image, index: int, camera: Camera) -> None:
        """The labels, centred above the heads; what is outside the image is cut."""
        draw, lift = ImageDraw.Draw(image), np.array([0, LABEL_HEIGHT, 0])
        for label, joints in zip(self._labels, self._positions[:, index], strict=False):
            (x, y), _ = camera.project(joints[HEAD] + lift)
            place = (x - sum(run.width for run in label) / 2, y - 1.4 * self._letter_size)
            self._letters.draw(draw, place, label, TEXT)


def body_points(joints: Array) -> Array:
    """Joints (22, 3) and the additional points that give the figure a head, toes and hands -> (29, 3)."""
    up = rot.normalize(joints[HEAD] - joints[NECK])
    face = rot.normalize(np.cross(joints[L_SHOULDER] - joints[R_SHOULDER], up))
    toes = rot.normalize((joints[[10, 11]] - joints[[7, 8]]) * (1, 0.3, 1))
    hands = rot.normalize(joints[[20, 21]] - joints[[18, 19]])
    head = joints[HEAD] + np.stack([0.03 * up, 0.10 * up, 0.045 * up + 0.105 * face])
    return np.concatenate([joints, head, joints[[10, 11]] + 0.06 * toes, joints[[20, 21]] + 0.085 * hands])


def _shades(depth: Array, limb_colours: Array) -> tuple[_Layer, ...]:
    """Layers of paint, from the rim inwards, for limbs at given depths: each figure's farther limbs are darker."""
    own = depth.reshape(-1, len(LIMBS))
    nearness = np.clip(0.5 + (own.mean(axis=1, keepdims=True) - own) / 1.2, 0, 1).reshape(-1, 1)
    base = limb_colours * (0.64 + 0.28 * nearness)
    light = base + (255 - base) * (0.22 + 0.16 * nearness)

    def colours(shade: Array) -> list[Colour]:
        return [(r, g, b) for r, g, b in shade.astype(int).tolist()]

    return (
        _Layer(colours(base * 0.40), extra=1.3),
        _Layer(colours(base)),
        _Layer(colours(base * 0.6 + light * 0.4), width=0.72, shift=0.6),
        _Layer(colours(light), width=0.40, shift=1.0),
    )


def _capsule(
    draw: ImageDraw.ImageDraw, a: Array, b: Array, radius_a: float, radius_b: float, fill: Colour | int
) -> None:
    """A rounded limb in pixels: two discs and the quadrilateral between them."""
    (ax, ay), (bx, by) = a.tolist(), b.tolist()
    dx, dy = bx - ax, by - ay
    length = (dx * dx + dy * dy) ** 0.5
    draw.ellipse((ax - radius_a, ay - radius_a, ax + radius_a, ay + radius_a), fill)
    draw.ellipse((bx - radius_b, by - radius_b, bx + radius_b, by + radius_b), fill)
    if length > 0.5:
        nx, ny = -dy / length, dx / length
        draw.polygon(
            (
                (ax + nx * radius_a, ay + ny * radius_a),
                (bx + nx * radius_b, by + ny * radius_b),
                (bx - nx * radius_b, by - ny * radius_b),
                (ax - nx * radius_a, ay - ny * radius_a),
            ),
            fill,
        )


def _bounds(pixels: Array, pad: float, size: tuple[int, int], multiple: int) -> tuple[int, int, int, int] | None:
    """Rectangle around points, within the image, whose sides are multiples of `multiple`; None if it is empty."""
    limit = np.array(size)
    low = np.clip(np.floor((pixels.min(0) - pad) / multiple) * multiple, 0, limit)
    high = np.clip(np.ceil((pixels.max(0) + pad) / multiple) * multiple, 0, limit)
    high -= (high - low) % multiple
    if (high <= low).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
