"""Tiny data sets in their published layouts, made from synthetic dancing."""

import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from choreo.data.layouts.coco17 import DIRECT, KEYPOINTS
from choreo.data.synthetic.dances import MOVES, synthesize_dance
from choreo.motion import rotations as rot
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh import write_bvh
from choreo.motion.kinematics import fit, forward_kinematics
from choreo.motion.resample import resample
from choreo.motion.skeleton import HEAD, NECK, PELVIS, REST_OFFSETS

AIST_NAME = "gBR_sBM_cAll_d04_mBR0_ch01"
SCALING = 93.8
Z_UP = rot.axis_angle(np.array([1.0, 0.0, 0.0]), np.pi / 2)
"""Turns y up into z up."""


@cache
def dance(seed: int = 0, seconds: float = 3.0) -> np.ndarray:
    """Canonical positions (T, 22, 3) at 30 fps."""
    moves = sorted(MOVES)
    positions = np.asarray(synthesize_dance(moves[seed % len(moves)], 110.0, seconds, seed)[0].positions, np.float64)
    positions.setflags(write=False)
    return positions


def shape(positions: np.ndarray) -> np.ndarray:
    """Positions relative to the pelvis."""
    return positions - positions[:, [PELVIS]]


def smpl_parameters(positions: np.ndarray, width: int, turn: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Poses (T, width) and root positions (T, 3) of canonical positions, turned into other axes."""
    turn = np.eye(3) if turn is None else turn
    rigid = fit(positions)
    local = rigid.local.copy()
    local[:, PELVIS] = turn @ local[:, PELVIS]
    poses = np.zeros((len(positions), width))
    poses[:, :66] = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(len(positions), 66)
    return poses, rigid.root @ turn.T


def coco_keypoints(positions: np.ndarray) -> np.ndarray:
    """Keypoints (T, 17, 3) of canonical positions; the ears lie beyond the head joint."""
    out = np.empty((len(positions), len(KEYPOINTS), 3))
    for joint, keypoint in DIRECT:
        out[:, keypoint] = positions[:, joint]
    middle = positions[:, NECK] + 1.6 * (positions[:, HEAD] - positions[:, NECK])
    side = 0.07 * rot.normalize(positions[:, 16] - positions[:, 17])
    out[:, 3], out[:, 4] = middle + side, middle - side
    out[:, 0] = out[:, 1] = out[:, 2] = middle
    return out


def aist_motion(positions: np.ndarray) -> dict[str, Any]:
    """Content of a file of `motions/`: 60 fps, translations in scaled units."""
    poses, trans = smpl_parameters(resample(positions, 30, 60), 72)
    # The model's pelvis is not at its origin; a constant offset must not matter.
    return {
        "smpl_poses": poses.astype(np.float32),
        "smpl_scaling": np.array([SCALING], np.float32),
        "smpl_trans": ((trans + np.array([0.0, 0.24, -0.03])) * SCALING).astype(np.float32),
        "smpl_loss": 1.5,
    }


def write_pickle(path: Path, content: Any, protocol: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def write_aist(root: Path, names: tuple[str, ...] = (AIST_NAME,)) -> None:
    for seed, name in enumerate(names):
        write_pickle(root / "motions" / f"{name}.pkl", aist_motion(dance(seed)))


def write_humanml3d(root: Path, names: tuple[str, ...] = ("000001",)) -> None:
    (root / "new_joints").mkdir(parents=True)
    (root / "texts").mkdir()
    for seed, name in enumerate(names):
        np.save(root / "new_joints" / f"{name}.npy", resample(dance(seed), 30, 20).astype(np.float32))
        (root / "texts" / f"{name}.txt").write_text("a person dances.#a/DET person/NOUN dance/VERB#0.0#0.0\n")


def amass_members(positions: np.ndarray, fps: int = 120) -> dict[str, Any]:
    poses, trans = smpl_parameters(resample(positions, 30, fps), 156, Z_UP)
    return {
        "poses": poses,
        "trans": trans,
        "mocap_framerate": np.array(float(fps)),
        "gender": np.array("female"),
        "betas": np.zeros(16),
        "dmpls": np.zeros((len(poses), 8)),
    }


def write_amass(root: Path, name: str = "ACCAD/Female1/A1 - Stand_poses") -> None:
    path = root / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **amass_members(dance()))


def write_cmu(root: Path, name: str = "05/05_02", scale: float = 1.0) -> None:
    path = root / f"{name}.bvh"
    path.parent.mkdir(parents=True, exist_ok=True)
    with_t_pose = np.concatenate([t_pose()[None], dance()])
    write_bvh(Motion((with_t_pose * scale).astype(np.float32)), path)


def t_pose() -> np.ndarray:
    """Canonical rest pose (22, 3) at the origin."""
    return forward_kinematics(np.array([0.0, 0.95, 0.0]), np.broadcast_to(np.eye(3), (len(REST_OFFSETS), 3, 3)))
