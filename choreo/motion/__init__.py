"""Skeleton, rotations, kinematics, clips and their representation."""
