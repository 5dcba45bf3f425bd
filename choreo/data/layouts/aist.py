"""AIST++ (Li et al. 2021, "AI Choreographer"): street dance, SMPL poses or COCO keypoints, with the song of each dance.

Layout as of google/aistplusplus_api (`aist_plusplus/loader.py`, `processing/run_estimate_smpl.py`, README):

    motions/<sequence>.pkl      smpl_poses (N, 72) axis-angle, smpl_scaling (1,), smpl_trans (N, 3); 60 fps, y up.
                                trans is in the cameras' centimetres; divided by the scaling it is in metres
    keypoints3d/<sequence>.pkl  keypoints3d and keypoints3d_optim (N, 17, 3): COCO-17 in centimetres
    splits/*.txt                crossmodal_{train,val,test}.txt: names, one a line
    ignore_list.txt             names whose annotation failed, at the top or in splits/

Names follow AIST's rules (aistdancedb.ongaaccel.jp/data_formats): gBR_sBM_cAll_d04_mBR0_ch01 gives genre, situation,
camera, dancer, song and choreography. Music is not part of AIST++: `music/` (or `wav/`, `wavs/`) may hold audio named
after the sequence or after its song; both start with the motion.
"""

import re
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.layouts.coco17 import KEYPOINTS, smpl_joints
from choreo.data.layouts.listing import published_parts, read_names, regular_files
from choreo.data.layouts.recording import Recording, Sentence, Skipped
from choreo.data.layouts.restricted_pickle import read_arrays
from choreo.data.layouts.song_files import SongFiles
from choreo.errors import InvalidInput
from choreo.motion.clip import MAX_FRAMES
from choreo.motion.formats.smpl_poses import smpl_positions
from choreo.music.encoders import DSP35, MusicEncoder

FPS: Final = 60
LICENCE: Final = "aist++-cc-by-4.0"
"""Licence of the annotations; the songs are under AIST's own terms."""
GENRES: Final = MappingProxyType(
    {"BR": "break", "PO": "pop", "LO": "lock", "MH": "middle hip-hop", "LH": "LA hip-hop", "HO": "house",
     "WA": "waack", "KR": "krump", "JS": "street jazz", "JB": "ballet jazz"}
)  # fmt: skip
CROSS_MODAL: Final = MappingProxyType({part: f"crossmodal_{part}.txt" for part in ("train", "val", "test")})
"""Files of the published split whose parts share no song."""

_NAME: Final = re.compile(r"g(?P<genre>[A-Z]{2})_s[A-Z]{2}_c[A-Za-z0-9]+_d\d\d_m(?P<song>[A-Z]{2}\d)_ch\d\d")


class Aist:
    """The annotation folder."""

    name = "aist++"

    def __init__(self, root: Path, encoder: MusicEncoder = DSP35) -> None:
        self._motions, self._keypoints = root / "motions", root / "keypoints3d"
        self.skipped: list[Skipped] = []
        stems = {p.stem for folder in (self._motions, self._keypoints) for p in regular_files(folder, "*.pkl")}
        ignored = {name for at in (root, root / "splits") for name in read_names(at / "ignore_list.txt")}
        for stem in sorted(stems):
            if not _named(stem):
                self.skipped.append(Skipped(stem, "is not named as AIST names sequences"))
            elif stem in ignored:
                self.skipped.append(Skipped(stem, "is on the data set's own ignore list"))
        refused = {s.name for s in self.skipped}
        self.keys = tuple(sorted(stems - refused))
        self.published = published_parts({part: root / "splits" / f for part, f in CROSS_MODAL.items()}, self.keys)
        self._songs = SongFiles([root / name for name in ("music", "wav", "wavs")], encoder)

    @staticmethod
    def recognised(root: Path) -> bool:
        """Whether there are pickles of motions or keypoints."""
        return any(regular_files(root / name, "*.pkl") for name in ("motions", "keypoints3d"))

    def group_of(self, key: str) -> str:
        """The song, `mBR0`: several dancers perform the same choreographies to it."""
        return f"m{_parts(key)['song']}"

    def recording(self, key: str) -> Recording:
        """Read one sequence: its SMPL fit, or its keypoints where it has no fit.

        Raises:
            InvalidInput: not a pickle of arrays of the right shapes, or audio that cannot be read.
            OSError: a file cannot be read.
        """
        genre = GENRES[_parts(key)["genre"]]
        fitted = self._motions / f"{key}.pkl"
        positions = (
            positions_of_motion(read_arrays(fitted, key), key)
            if fitted.is_file()
            else positions_of_keypoints(read_arrays(self._keypoints / f"{key}.pkl", key), key)
        )
        return Recording(
            key=key,
            group=self.group_of(key),
            family=genre,
            positions=positions,
            fps=FPS,
            licence=LICENCE,
            sentences=(Sentence(f"a person dances {genre}"),),
            song=self._songs.song(key, self.group_of(key)),
            remarks=self._songs.remarks(key, self.group_of(key)),
        )


def positions_of_motion(arrays: dict[str, NDArray[np.generic]], field: str) -> NDArray[np.float64]:
    """Positions (T, 22, 3), metres, of a file of `motions/`.

    Raises:
        InvalidInput: an array is missing or of another shape, or the scaling is not a positive number.
    """
    poses, trans, scaling = (_numbers(arrays, f"smpl_{name}", field) for name in ("poses", "trans", "scaling"))
    if scaling.size != 1 or not np.isfinite(scaling).all() or not scaling.item() > 0:
        raise InvalidInput(field, "has a smpl_scaling that is not one positive number")
    if poses.ndim == 3:
        poses = poses.reshape(len(poses), -1)
    if poses.ndim != 2 or poses.shape[1] != 72:
        raise InvalidInput(field, f"has smpl_poses of shape {poses.shape}, not (N, 72)")
    return smpl_positions(poses, trans / scaling.item(), field)


def positions_of_keypoints(arrays: dict[str, NDArray[np.generic]], field: str) -> NDArray[np.float64]:
    """Positions (T, 22, 3), metres, of a file of `keypoints3d/`; its optimised keypoints where it has them.

    Raises:
        InvalidInput: no keypoints, another shape, NaN or infinity.
    """
    name = "keypoints3d_optim" if "keypoints3d_optim" in arrays else "keypoints3d"
    keypoints = _numbers(arrays, name, field)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (len(KEYPOINTS), 3) or not 1 <= len(keypoints) <= MAX_FRAMES:
        raise InvalidInput(field, f"has {name} of shape {keypoints.shape}, not (N, {len(KEYPOINTS)}, 3)")
    if not np.isfinite(keypoints).all():
        raise InvalidInput(field, f"holds NaN or infinite {name}")
    return smpl_joints(keypoints / 100)


def _numbers(arrays: dict[str, NDArray[np.generic]], name: str, field: str) -> NDArray[np.float64]:
    if name not in arrays:
        raise InvalidInput(field, f"has no {name}; it holds {', '.join(sorted(arrays)) or 'no arrays'}")
    return np.asarray(arrays[name], np.float64)


def _named(stem: str) -> bool:
    match = _NAME.fullmatch(stem)
    return match is not None and match["genre"] in GENRES


def _parts(key: str) -> re.Match[str]:
    match = _NAME.fullmatch(key)
    if match is None or match["genre"] not in GENRES:
        raise InvalidInput(key, "is not named as AIST names sequences")
    return match
