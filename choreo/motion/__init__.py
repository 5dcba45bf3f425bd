"""Skeleton, rotations, kinematics, motions and performances, their representation for networks, file formats."""
