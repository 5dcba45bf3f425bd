"""Representations: how motion on the canonical skeleton is written as numbers for the networks.

A representation knows its channels and how to encode, decode, rotate and mirror them, so that nothing else needs the
position of a channel. `representation` finds one by the name that model specifications carry.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact
from choreo.motion.planted import planted
from choreo.motion.rotations import yaw
from choreo.motion.skeleton import BONE_LENGTHS, CONTACT_JOINTS, FPS, MIRROR, NUM_JOINTS, PARENTS, PELVIS

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
ArrayOrTensor = TypeVar("ArrayOrTensor", NDArray[Any], "Tensor")

SHORTEST: Final = 0.5
"""Share of its length below which a bone is not given its full length: its direction would be noise."""
MIN_STD: Final = 0.03
"""Smallest standard deviation that features are divided by."""


@dataclass(frozen=True)
class Origin:
    """What `encode` takes out of a motion: the horizontal root position before frame 0, and the yaw of the axes."""

    x: float = 0.0
    z: float = 0.0
    heading: float = 0.0


@dataclass(frozen=True, eq=False)
class Representation(ABC):
    """Features (T, channels) of joint positions (T, num_joints, 3); y is up, units are metres and seconds.

    Attributes:
        name: as model specifications state it.
        channels: numbers per frame.
        root_velocity: channels with the horizontal velocity of the root; empty where it is not stored.
        root_height: channel with the height of the root.
        joints: channels with the joints.
        contacts: channels with the contacts of the feet, in the order of `CONTACT_JOINTS`; None where they are not
            stored.
        horizontal: (x, z) pairs of channels, which turn together under yaw.
        fps: frame rate, the default of `encode` and `decode`.
        num_joints: joints of the skeleton.
    """

    name: str
    channels: int
    root_velocity: slice
    root_height: slice
    joints: slice
    horizontal: tuple[tuple[int, int], ...]
    fps: float = FPS
    num_joints: int = NUM_JOINTS
    contacts: slice | None = None

    @property
    def unknown_in_a_lone_pose(self) -> slice | list[int]:
        """Channels that a single pose does not determine: velocities, and contacts, which have to do with them."""
        return self.root_velocity

    def contacts_of(self, features: NDArray[np.floating]) -> Array | None:
        """Contacts (..., 4) of features (..., channels), in 0..1; None where they are not stored."""
        return None if self.contacts is None else np.clip(np.asarray(features, np.float64)[..., self.contacts], 0, 1)

    @abstractmethod
    def encode(
        self,
        positions: NDArray[np.floating],
        fps: float | None = None,
        heading: float = 0.0,
        previous: NDArray[np.floating] | None = None,
    ) -> tuple[Array, Origin]:
        """Positions (T, num_joints, 3) to features (T, channels), and the origin with which `decode` inverts it.

        Args:
            positions: joint positions, metres.
            fps: frame rate of the positions; None: the representation's.
            heading: yaw (radians) of the axes of the features; the motion is turned by its negative.
            previous: root position (3,) one frame before the first, which a crop of a longer motion knows; None: the
                first frame has no velocity.
        """

    @abstractmethod
    def decode(self, features: NDArray[np.floating], fps: float | None = None, origin: Origin | None = None) -> Array:
        """Inverse of `encode`: features (T, channels) to positions (T, num_joints, 3)."""

    @abstractmethod
    def rotate(self, features: NDArray[np.floating], angle: float) -> Array:
        """Turn the motion of features (..., channels) about y by `angle` radians."""

    @abstractmethod
    def mirror(self, features: ArrayOrTensor) -> ArrayOrTensor:
        """Reflect the motion of features (..., channels) in the plane x = 0, left and right exchanged."""

    @abstractmethod
    def joints_of(self, features: ArrayOrTensor) -> ArrayOrTensor:
        """Positions (..., num_joints - 1, 3) of the other joints relative to the root, metres, in the features' axes.

        This and the next two take NumPy arrays and torch tensors, and are differentiable.
        """

    @abstractmethod
    def root_height_of(self, features: ArrayOrTensor) -> ArrayOrTensor:
        """Height (...) of the root above the floor, metres."""

    @abstractmethod
    def root_velocity_of(self, features: ArrayOrTensor) -> ArrayOrTensor:
        """Horizontal velocity (..., 2) of the root from the frame before, x and z, m/s."""

    def full_bones(self, features: NDArray[np.floating]) -> Array:
        """Features (..., channels) with bones of canonical lengths in the directions that they have.

        Representations that cannot change a joint without others return what they were given.
        """
        return np.asarray(features, np.float64)

    def statistics(self, features: NDArray[np.floating]) -> tuple[Array, Array]:
        """Mean and standard deviation (channels,) of features (N, channels) under a uniformly random yaw.

        The x and z of a pair therefore have mean 0 and share their standard deviation, which is at least `MIN_STD`.
        """
        data = np.asarray(features, np.float64)
        mean, std = data.mean(0), data.std(0)
        for pair in map(list, self.horizontal):
            mean[pair] = 0
            std[pair] = np.sqrt((data[:, pair] ** 2).mean())
        return mean, np.maximum(std, MIN_STD)


class RootVelocity(Representation):
    """66 numbers a frame: velocity and height of the root, and the 21 other joints relative to it.

    Channels: 0 and 1 root velocity in x and z (m/s, v[t] = (p[t] - p[t-1]) fps), 2 root height (m), 3 to 65 joints 1
    to 21 minus the root (m). Axes are those given to `encode`, so that the windows of one song share a frame.
    """

    def encode(
        self,
        positions: NDArray[np.floating],
        fps: float | None = None,
        heading: float = 0.0,
        previous: NDArray[np.floating] | None = None,
    ) -> tuple[Array, Origin]:
        """Positions (T, 22, 3) to features (T, 66) and their origin; arguments as in `Representation.encode`."""
        p = np.asarray(positions, np.float64)
        before = p[0, PELVIS] if previous is None else np.asarray(previous, np.float64)
        turn = yaw(-heading).T
        root = p[:, PELVIS]
        velocity = np.diff(root, axis=0, prepend=before[None]) * (self.fps if fps is None else fps)
        relative = p[:, 1:] - root[:, None]
        features = np.concatenate(
            [(velocity @ turn)[:, [0, 2]], root[:, 1:2], (relative @ turn).reshape(len(p), -1)], axis=1
        )
        return features, Origin(float(before[0]), float(before[2]), heading)

    def decode(self, features: NDArray[np.floating], fps: float | None = None, origin: Origin | None = None) -> Array:
        """Features (T, 66) to positions (T, 22, 3)."""
        origin = origin or Origin()
        f = np.asarray(features, np.float64)
        turn = yaw(origin.heading).T
        travel = np.zeros((len(f), 3))
        travel[:, [0, 2]] = np.cumsum(self.root_velocity_of(f), axis=0) / (self.fps if fps is None else fps)
        root = travel @ turn + (origin.x, 0.0, origin.z)
        root[:, 1] = self.root_height_of(f)
        return np.concatenate([root[:, None], root[:, None] + self.joints_of(f) @ turn], axis=1)

    def rotate(self, features: NDArray[np.floating], angle: float) -> Array:
        """Turn the motion of features (..., 66) about y by `angle` radians."""
        f = np.array(features, np.float64)
        turn = yaw(angle).T
        flat = np.zeros((*f.shape[:-1], 3))
        flat[..., [0, 2]] = self.root_velocity_of(f)
        f[..., self.root_velocity] = (flat @ turn)[..., [0, 2]]
        f[..., self.joints] = (self.joints_of(f) @ turn).reshape(*f.shape[:-1], -1)
        return f

    def mirror(self, features: ArrayOrTensor) -> ArrayOrTensor:
        """Reflect the motion of features (..., 66) in the plane x = 0, left and right exchanged."""
        out = features[..., _MIRRORED_CHANNELS]  # an index by a list copies
        out[..., _X_CHANNELS] *= -1
        return out

    def joints_of(self, features: ArrayOrTensor) -> ArrayOrTensor:
        """Positions (..., 21, 3) of joints 1 to 21 relative to the root, metres."""
        return features[..., self.joints].reshape(*features.shape[:-1], self.num_joints - 1, 3)

    def root_height_of(self, features: ArrayOrTensor) -> ArrayOrTensor:
        """Height (...) of the root, metres."""
        return features[..., self.root_height.start]

    def root_velocity_of(self, features: ArrayOrTensor) -> ArrayOrTensor:
        """Velocity (..., 2) of the root in x and z, m/s."""
        return features[..., self.root_velocity]

    def full_bones(self, features: NDArray[np.floating]) -> Array:
        """Features (..., 66) with bones of canonical lengths; shorter ones than `SHORTEST` grow by as much as that."""
        out = np.array(features, np.float64)
        bones = _BONES_OF_JOINTS @ self.joints_of(out)
        length = np.sqrt(np.einsum("...c,...c->...", bones, bones))
        bones *= (BONE_LENGTHS[1:] / np.maximum(length, SHORTEST * BONE_LENGTHS[1:]))[..., None]
        out[..., self.joints] = (_JOINTS_OF_BONES @ bones).reshape(*out.shape[:-1], -1)
        return out


class RootVelocityContacts(RootVelocity):
    """70 numbers a frame: those of `RootVelocity`, and in channels 66 to 69 whether a foot is planted (0 or 1)."""

    @property
    def unknown_in_a_lone_pose(self) -> list[int]:
        """Velocities and contacts."""
        return [*range(self.channels)[self.root_velocity], *range(self.channels)[self.contacts or slice(0)]]

    def encode(
        self,
        positions: NDArray[np.floating],
        fps: float | None = None,
        heading: float = 0.0,
        previous: NDArray[np.floating] | None = None,
    ) -> tuple[Array, Origin]:
        """Positions (T, 22, 3) to features (T, 70) and their origin; arguments as in `Representation.encode`."""
        features, origin = super().encode(positions, fps, heading, previous)
        return np.concatenate([features, planted(positions, self.fps if fps is None else fps)], axis=1), origin

    def mirror(self, features: ArrayOrTensor) -> ArrayOrTensor:
        """Reflect the motion of features (..., 70) in the plane x = 0, left and right exchanged."""
        out = features[..., [*_MIRRORED_CHANNELS, *_MIRRORED_CONTACTS]]  # an index by a list copies
        out[..., _X_CHANNELS] *= -1
        return out


def _bones_of_joints() -> Array:
    """(21, 21) matrix from joints 1 to 21, relative to the root, to the bones that end at them."""
    out = np.eye(NUM_JOINTS)
    for joint in range(1, NUM_JOINTS):
        out[joint, PARENTS[joint]] = -1
    return out[1:, 1:]


_BONES_OF_JOINTS: Final = _bones_of_joints()
_JOINTS_OF_BONES: Final = np.linalg.inv(_BONES_OF_JOINTS)
_MIRRORED_CHANNELS: Final = [0, 1, 2, *(3 * joint + axis for joint in MIRROR[1:] for axis in range(3))]
_MIRRORED_CONTACTS: Final = [3 * NUM_JOINTS + CONTACT_JOINTS.index(MIRROR[joint]) for joint in CONTACT_JOINTS]
_X_CHANNELS: Final = [0, *range(3, 3 * NUM_JOINTS, 3)]

ROOT_VELOCITY_66: Final = RootVelocity(
    name="root-velocity-66",
    channels=3 * NUM_JOINTS,
    root_velocity=slice(0, 2),
    root_height=slice(2, 3),
    joints=slice(3, 3 * NUM_JOINTS),
    horizontal=((0, 1), *((x, x + 2) for x in range(3, 3 * NUM_JOINTS, 3))),
)
"""The representation of data sets and phrase libraries."""
ROOT_VELOCITY_70: Final = RootVelocityContacts(
    name="root-velocity-70",
    channels=ROOT_VELOCITY_66.channels + 4,
    root_velocity=ROOT_VELOCITY_66.root_velocity,
    root_height=ROOT_VELOCITY_66.root_height,
    joints=ROOT_VELOCITY_66.joints,
    horizontal=ROOT_VELOCITY_66.horizontal,
    contacts=slice(ROOT_VELOCITY_66.channels, ROOT_VELOCITY_66.channels + 4),
)
"""The same with contacts of the feet, which are better evidence than a foot that slides already."""
_REPRESENTATIONS: Final[dict[str, Representation]] = {}
_ELSEWHERE: Final = {"lab-199": "choreo.motion.lab:LAB_199"}
"""Representations that are loaded when they are asked for."""


def register(added: Representation) -> None:
    """Make a representation known to `representation`, so that a generator can bring its own.

    Raises:
        ValueError: its name belongs to another representation.
    """
    if _REPRESENTATIONS.setdefault(added.name, added) is not added:
        raise ValueError(f"there is another representation {added.name!r}")


register(ROOT_VELOCITY_66)
register(ROOT_VELOCITY_70)


def representation(name: str) -> Representation:
    """The representation of this name.

    Raises:
        InvalidArtifact: there is none.
    """
    if name in _ELSEWHERE and name not in _REPRESENTATIONS:
        module, attribute = _ELSEWHERE[name].split(":")
        register(getattr(import_module(module), attribute))
    if name not in _REPRESENTATIONS:
        known = ", ".join(dict.fromkeys([*_REPRESENTATIONS, *_ELSEWHERE]))
        raise InvalidArtifact(f"unknown representation {name!r}; known are {known}")
    return _REPRESENTATIONS[name]


def converted(features: NDArray[np.floating], source: Representation, target: Representation) -> Array:
    """The motion of features (T, source.channels) as features (T, target.channels), in the same axes."""
    if source is target:
        return np.asarray(features, np.float64)
    return target.encode(source.decode(features), previous=np.zeros(3))[0]


def in_default(features: NDArray[Any], source: Representation) -> NDArray[Any]:
    """Features (..., source.channels) whose first 66 channels are those of the default representation, of one type.

    What a generator gives goes through here, so that nothing behind it has to know the generator's representation.
    """
    ours, theirs = ((r.root_velocity, r.root_height, r.joints) for r in (ROOT_VELOCITY_66, source))
    if ours == theirs:
        return features
    joints = source.joints_of(features)
    parts = (
        source.root_velocity_of(features),
        source.root_height_of(features)[..., None],
        joints.reshape(*joints.shape[:-2], -1),
    )
    return np.concatenate(parts, axis=-1)


# The default representation, for callers that know no other.
CHANNELS: Final = ROOT_VELOCITY_66.channels
ROOT_VELOCITY: Final = ROOT_VELOCITY_66.root_velocity
encode = ROOT_VELOCITY_66.encode
decode = ROOT_VELOCITY_66.decode
rotate = ROOT_VELOCITY_66.rotate
