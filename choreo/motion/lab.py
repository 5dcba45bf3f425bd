"""The representation of the text-to-motion lab: root, rotations and joints together.

The document writes a frame as x = [r_z, r'_x, r'_y, a', theta, j]: height and planar velocity of the root, angular
velocity of the body's heading, pose parameters, joint positions (section 1.2; its z is up, here y is). The pose
parameters are six-dimensional rotations (Zhou et al. 2019), as in the sources that the lab is built on. Velocities, the
pelvis' rotation and joints are along the axes given to `encode`, not along the dancer's heading, so that key poses,
paths, priors and the windows of one song share a frame.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.motion import rotations as rot
from choreo.motion.kinematics import Level, fit_rotations_by_level, heading, local_rotations
from choreo.motion.representation import ROOT_VELOCITY_66, Array, ArrayOrTensor, Origin, RootVelocity
from choreo.motion.skeleton import MIRROR, NUM_JOINTS, PELVIS, REST_OFFSETS

HEADING_VELOCITY: Final = 3
"""Channel with the angular velocity of the heading, rad/s."""
ROTATIONS: Final = slice(4, 4 + 6 * NUM_JOINTS)
"""Channels with the rotation of each joint relative to its parent; of the pelvis, relative to the axes."""
_JOINTS: Final = slice(ROTATIONS.stop, ROTATIONS.stop + 3 * (NUM_JOINTS - 1))


class LabRepresentation(RootVelocity):
    """199 numbers a frame.

    Channels: 0 root height (m), 1 and 2 root velocity in x and z (m/s), 3 heading velocity (rad/s, from the frame
    before, 0 at the first frame), 4 to 135 rotations of joints 0 to 21 (first two columns each), 136 to 198 joints 1 to
    21 minus the root (m). `decode` goes by root and joints, so that it inverts `encode` for any body; heading velocity
    and rotations say the same once more, and are what `rotations_of` reads.

    Rotations are without twist from the direction at rest, a function of the pose alone: the pose of a lone frame
    determines them, and a crop has those of the whole.
    """

    @property
    def unknown_in_a_lone_pose(self) -> list[int]:
        """Velocities of root and heading."""
        return [*range(self.channels)[self.root_velocity], HEADING_VELOCITY]

    def encode(
        self,
        positions: NDArray[np.floating],
        fps: float | None = None,
        heading: float = 0.0,
        previous: NDArray[np.floating] | None = None,
    ) -> tuple[Array, Origin]:
        """Positions (T, 22, 3) to features (T, 199) and their origin; arguments as in `Representation.encode`."""
        base, origin = ROOT_VELOCITY_66.encode(positions, self.fps if fps is None else fps, heading, previous)
        bodies = np.concatenate([np.zeros((len(base), 1, 3)), ROOT_VELOCITY_66.joints_of(base)], axis=1)
        six = rot.to_six(local_rotations(twist_free(bodies)))
        parts = (
            base[:, ROOT_VELOCITY_66.root_height],
            base[:, ROOT_VELOCITY_66.root_velocity],
            heading_velocity(bodies, self.fps if fps is None else fps)[:, None],
            six.reshape(len(base), -1),
            base[:, ROOT_VELOCITY_66.joints],
        )
        return np.concatenate(parts, axis=1), origin

    def rotations_of(self, features: NDArray[np.floating]) -> Array:
        """Rotations (..., 22, 3, 3) of features (..., 199), each relative to its parent's."""
        f = np.asarray(features, np.float64)
        return rot.from_six(f[..., ROTATIONS].reshape(*f.shape[:-1], NUM_JOINTS, 6))

    def rotate(self, features: NDArray[np.floating], angle: float) -> Array:
        """Turn the motion of features (..., 199) about y by `angle` radians."""
        out = super().rotate(features, angle)
        pelvis = out[..., _PELVIS].reshape(*out.shape[:-1], 2, 3)
        out[..., _PELVIS] = (pelvis @ rot.yaw(angle).T).reshape(*out.shape[:-1], 6)
        return out

    def mirror(self, features: ArrayOrTensor) -> ArrayOrTensor:
        """Reflect the motion of features (..., 199) in the plane x = 0, left and right exchanged."""
        out = features[..., _MIRRORED]  # an index by a list copies
        out[..., _NEGATED] *= -1
        return out


def heading_velocity(positions: NDArray[np.floating], fps: float) -> Array:
    """Angular velocity (T,) of the heading from the frame before, rad/s, by the shorter way; 0 at the first frame."""
    angle = heading(positions)
    change = np.diff(angle, prepend=angle[:1])
    return np.asarray(np.arctan2(np.sin(change), np.cos(change)) * fps, np.float64)


def twist_free(positions: NDArray[np.floating]) -> Array:
    """World rotations (T, 22, 3, 3) of positions (T, 22, 3), frame by frame and without twist.

    As `kinematics.fit`, which carries the twist of folded limbs from frame to frame; that would leave the rotations of
    a lone pose open.
    """
    return fit_rotations_by_level(np.asarray(positions, np.float64), _turn_without_twist)


def _turn_without_twist(world: Array, level: Level, bones: Array) -> None:
    """Turn the links of a level in place, so that their rest directions become bones (T, L, 3) the shortest way."""
    world[:, level.links] = world[:, level.links] @ rot.shortest_arc(REST_OFFSETS[level.ends], bones)


def _mirrored() -> tuple[list[int], list[int]]:
    """Where each channel of a reflection comes from, and which ones change their sign.

    A rotation R becomes M R M with M = diag(-1, 1, 1): of its first column y and z change, of the second one x.
    """
    source, negated = [0, 1, 2, HEADING_VELOCITY], [1, HEADING_VELOCITY]
    for joint in range(NUM_JOINTS):
        first = ROTATIONS.start + 6 * joint
        source += range(ROTATIONS.start + 6 * MIRROR[joint], ROTATIONS.start + 6 * MIRROR[joint] + 6)
        negated += [first + 1, first + 2, first + 3]
    source += [_JOINTS.start + 3 * (joint - 1) + axis for joint in MIRROR[1:] for axis in range(3)]
    return source, [*negated, *range(_JOINTS.start, _JOINTS.stop, 3)]


_PELVIS: Final = slice(ROTATIONS.start + 6 * PELVIS, ROTATIONS.start + 6 * PELVIS + 6)
_MIRRORED, _NEGATED = _mirrored()

LAB_199: Final = LabRepresentation(
    name="lab-199",
    channels=_JOINTS.stop,
    root_velocity=slice(1, 3),
    root_height=slice(0, 1),
    joints=_JOINTS,
    horizontal=((1, 2), (4, 6), (7, 9), *((x, x + 2) for x in range(_JOINTS.start, _JOINTS.stop, 3))),
)
"""The representation of the text-to-motion lab on the canonical skeleton; on SMPL's 24 joints it has 205 numbers."""
