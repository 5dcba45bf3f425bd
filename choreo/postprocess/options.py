"""What a caller may choose of post-processing, for programs that do none."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FinishOptions:
    """Which stages run.

    Attributes:
        smooth: remove jitter.
        bone_lengths: fit rotations to the canonical skeleton; without it the motion has no rotations.
        foot_lock: hold feet in contact still. Without `bone_lengths` legs keep the lengths they have in each frame.
        on_beat: move pauses to the beats of the song. None and True both do so where beats are sure, and nowhere else.
    """

    smooth: bool = True
    bone_lengths: bool = True
    foot_lock: bool = True
    on_beat: bool | None = None
