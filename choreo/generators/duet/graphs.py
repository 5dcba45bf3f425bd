"""The graph of a duet generator, as its spec describes it."""

from typing import Final

from choreo.generators.spec import GeneratorSpec, GraphSpec, Role, TensorSpec
from choreo.motion.pose_states import STATE
from choreo.motion.skeleton import NUM_JOINTS

FAMILY: Final = "duet"
FOLLOWER: Final = "follower"
BODY: Final = 3 * NUM_JOINTS
"""Place of the root, and the other joints relative to it."""
RELATION: Final = BODY + 4
"""Difference of the bodies, the follower's place in the leader's axes, and cosine and sine of the turn between them."""
LOOK_AHEAD: Final = "look_ahead"
"""Parameter of the spec: frames of the leader ahead of the one that is made."""


def duet_spec(name: str, frames: int, look_ahead: int, noise: int, fps: int = 30) -> GeneratorSpec:
    """The contract of a duet generator.

    With W = `frames` and S = W + 1 + `look_ahead` (the rows' axis left out):

    follower: `leader` [S, 66], positions of the joints in the axes of a place on the floor, of which frame i is that of
    the follower's frame i; `states` [W, 135] of the follower in the same axes; `known` [W, 1], 0 for frames before the
    dance, whose states do not matter; `role` [1], 1 where the given dancer is one who follows; `noise` [W, noise]
    -> `next` [135], the follower's state to come, whose rotations may have columns that are not quite orthonormal.

    Motion goes out as features of two dancers in one frame, whose first frame has the way from the origin as its
    velocity.
    """
    return GeneratorSpec(
        name=name,
        family=FAMILY,
        window=frames,
        fps=fps,
        mean=(0.0,) * BODY,
        std=(1.0,) * BODY,
        graphs=(
            GraphSpec(
                name=FOLLOWER,
                inputs=(
                    TensorSpec(name="leader", shape=(frames + 1 + look_ahead, BODY)),
                    TensorSpec(name="states", shape=(frames, STATE)),
                    TensorSpec(name="known", shape=(frames, 1), role=Role.MASK),
                    TensorSpec(name="role", shape=(1,), role=Role.MASK),
                    TensorSpec(name="noise", shape=(frames, noise)),
                ),
                outputs=(TensorSpec(name="next", shape=(STATE,)),),
            ),
        ),
        parameters={LOOK_AHEAD: look_ahead},
    )
