"""Motion as a NumPy .npz archive.

Members: `positions` float32 (T, 22, 3) in metres, `fps`, `joint_names`, `parents`, `meta` (a JSON string) and, for
fitted motion, `rotations` float32 (T, 22, 3, 3). Archives of N > 1 dancers also hold their names in `dancers` (N,), and
`positions` and `rotations` have a leading axis of length N; rotations are left out unless every dancer has them.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidInput
from choreo.files import atomic_write
from choreo.motion import kinematics
from choreo.motion.clip import MAX_FRAMES, Motion, check_fps, check_positions
from choreo.motion.formats.json_format import json_safe
from choreo.motion.performance import MAX_DANCERS, MAX_NAME_CHARS, Performance, check_names
from choreo.motion.skeleton import JOINT_NAMES, NUM_JOINTS, PARENTS, PELVIS

MAX_FILE_BYTES = 128 * 2**20
"""Largest archive that is read."""
MAX_UNPACKED_BYTES = MAX_FRAMES * NUM_JOINTS * 12 * 8 + 2**22
"""Largest sum of unpacked members: positions and rotations of the longest solo in float64, and some margin."""
MAX_MEMBERS = 32
MAX_META_CHARS = 2**18
ROTATION_TOLERANCE = 1e-2
"""Largest entry of R^T R - I."""
KINEMATIC_TOLERANCE = 5e-3
"""Largest distance of positions from the forward kinematics of the rotations in the same file, metres."""

# zipfile, zlib and numpy's header parser (tokenize, ast) have no common error type for damaged or hostile bytes.
_DAMAGED = Exception


def npz_bytes(dance: Motion | Performance) -> bytes:
    """The archive, uncompressed: coordinates hardly shrink, and storing costs no time. Equal motion, equal bytes."""
    performance = Performance.of(dance)
    solo = len(performance.dancers) == 1
    positions, rotations = performance.positions, performance.rotations
    members: dict[str, Any] = {
        "positions": np.asarray(positions[0] if solo else positions, np.float32),
        "fps": np.float64(performance.fps),
        "joint_names": np.array(JOINT_NAMES),
        "parents": np.array(PARENTS, np.int32),
        "meta": np.array(json.dumps(json_safe(performance.meta), allow_nan=False)),
    }
    if rotations is not None:
        members["rotations"] = np.asarray(rotations[0] if solo else rotations, np.float32)
    if not solo:
        members["dancers"] = np.array(performance.names)
    buffer = io.BytesIO()
    np.savez(buffer, **members)
    return buffer.getvalue()


def write_npz(dance: Motion | Performance, path: Path) -> None:
    """Write `npz_bytes` to `path`, whole or not at all."""
    atomic_write(path, npz_bytes(dance))


def read_npz(source: Path | str | bytes, field: str = "motion") -> Motion:
    """Read an archive of one dancer, with the checks of `read_performance`.

    Raises:
        InvalidInput: not an archive of this module, or one of several dancers.
        OSError: the path cannot be read.
    """
    return read_performance(source, field).single(field)


def read_performance(source: Path | str | bytes, field: str = "motion") -> Performance:
    """Read an archive from a path or from its bytes. Nothing in it is unpickled, and sizes are checked before loading.

    `positions` and `fps` are required. `joint_names` and `parents`, if present, must be those of SMPL-22, and
    `rotations` must be rotations whose forward kinematics are the positions.

    Raises:
        InvalidInput: anything else; the error's field is `field` or `field.member`.
        OSError: the path cannot be read.
    """
    archive = NpzArchive(source, field)
    names = archive.dancers()
    positions = archive.floats("positions", (*((len(names),) if names else ()), None, NUM_JOINTS, 3))
    dancers = list(positions) if names else [positions]
    for dancer in dancers:
        check_positions(dancer, f"{field}.positions")
    fps = float(archive.floats("fps", ()))
    check_fps(fps, f"{field}.fps")
    _check_skeleton(archive)
    rotations: list[Any] = [None] * len(dancers)
    if "rotations" in archive:
        found = archive.floats("rotations", (*positions.shape, 3))
        rotations = list(found) if names else [found]
        for dancer, local in zip(dancers, rotations, strict=True):
            _check_rotations(local, dancer, f"{field}.rotations")
    motions = tuple(Motion(dancer, fps, local) for dancer, local in zip(dancers, rotations, strict=True))
    return Performance(motions, archive.meta(), names)


def _file_bytes(source: Path | str | bytes, field: str) -> bytes:
    if isinstance(source, bytes):
        data = source
    else:
        with Path(source).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise InvalidInput(field, f"is larger than {MAX_FILE_BYTES // 2**20} MiB")
    return data


class NpzArchive:
    """Members of an untrusted .npz (a path or its bytes), each read only after its shape, type and size are checked.

    Raises:
        InvalidInput: not an archive, or too large.
        OSError: the path cannot be read.
    """

    def __init__(self, source: Path | str | bytes, field: str) -> None:
        self.field = field
        data = _file_bytes(source, field)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGED as error:
            raise InvalidInput(field, "is not an .npz archive") from error
        infos = self._zip.infolist()
        if len(infos) > MAX_MEMBERS:
            raise InvalidInput(field, f"holds more than {MAX_MEMBERS} members")
        if sum(info.file_size for info in infos) > MAX_UNPACKED_BYTES:
            raise InvalidInput(field, f"unpacks to more than {MAX_UNPACKED_BYTES // 2**20} MiB")
        self._infos = {info.filename.removesuffix(".npy"): info for info in infos}
        if len(self._infos) != len(infos):
            raise InvalidInput(field, "holds two members of one name")

    def __contains__(self, name: str) -> bool:
        return name in self._infos

    def dancers(self) -> tuple[str, ...]:
        """Names in the member `dancers`; none in an archive without it.

        Raises:
            InvalidInput: they are no names, too many, or not different.
        """
        if "dancers" not in self:
            return ()
        field = f"{self.field}.dancers"
        names = self.array("dancers", "U", (None,), 4 * MAX_NAME_CHARS)
        if not 1 <= len(names) <= MAX_DANCERS:
            raise InvalidInput(field, f"must be 1 to {MAX_DANCERS} names, got {len(names)}")
        found = tuple(names.tolist())
        check_names(found, len(found), field)
        return found

    def meta(self) -> dict[str, Any]:
        """The JSON object in the member `meta`; empty in an archive without it.

        Raises:
            InvalidInput: it is none, or too long.
        """
        if "meta" not in self:
            return {}
        field = f"{self.field}.meta"
        text = str(self.array("meta", "U", (), 4 * MAX_META_CHARS))
        try:
            meta = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(field, "is not JSON") from error
        if not isinstance(meta, dict):
            raise InvalidInput(field, "must be a JSON object")
        return meta

    def floats(self, name: str, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
        """Real-valued member of the given shape (None: any length) as float32; scalars stay float64.

        Raises:
            InvalidInput: it is missing, damaged, or has another shape or type.
        """
        array = self.array(name, "fiu", shape)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused by the caller
            return array.astype(np.float32 if array.ndim else np.float64)

    def numbers(self, name: str) -> NDArray[np.float32]:
        """Real-valued member of any shape as float32; scalars stay float64.

        Raises:
            InvalidInput: it is missing, damaged, or of another type.
        """
        return self.floats(name, (None,) * len(self.shape(name)))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape that a member declares.

        Raises:
            InvalidInput: it is missing or damaged.
        """
        return self._header(name)[0]

    def array(self, name: str, kinds: str, shape: tuple[int | None, ...], item_bytes: int = 8) -> NDArray[Any]:
        """Member `name`, of a dtype kind in `kinds`, the given shape and items of at most `item_bytes`.

        Raises:
            InvalidInput: it is missing, damaged, or has another shape or type.
        """
        field = f"{self.field}.{name}"
        declared, dtype, size = self._header(name)
        if len(declared) != len(shape) or any(
            want not in (None, got) for want, got in zip(shape, declared, strict=True)
        ):
            wanted = "(" + ", ".join("T" if n is None else str(n) for n in shape) + ")"
            raise InvalidInput(field, f"must have shape {wanted}, got {declared}")
        if dtype.hasobject or dtype.kind not in kinds or dtype.itemsize > item_bytes:
            raise InvalidInput(field, f"has the unusable type {dtype}")
        info = self._infos[name]
        if size != info.file_size:
            raise InvalidInput(field, f"declares {size} bytes but holds {info.file_size}")
        try:
            with self._zip.open(info) as member:
                return np.lib.format.read_array(member, allow_pickle=False)
        except _DAMAGED as error:
            raise InvalidInput(field, "is truncated or damaged") from error

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
        """Shape, type and bytes that a member declares."""
        field = f"{self.field}.{name}"
        if name not in self._infos:
            raise InvalidInput(field, f"is missing; the archive holds {sorted(self._infos)}")
        info = self._infos[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InvalidInput(field, "is packed in a way .npz files are not")
        try:
            with self._zip.open(info) as member:
                declared, dtype = _npy_header(member)
                return declared, dtype, member.tell() + int(np.prod(declared, dtype=object)) * dtype.itemsize
        except _DAMAGED as error:
            raise InvalidInput(field, "is not a NumPy array") from error


def _npy_header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    else:
        raise ValueError(f"npy version {version}")
    if any(n < 0 for n in shape):
        raise ValueError(f"negative shape {shape}")
    return shape, dtype


def _check_skeleton(archive: NpzArchive) -> None:
    expected = {"joint_names": ("U", JOINT_NAMES), "parents": ("iu", PARENTS)}
    for name, (kinds, values) in expected.items():
        if name in archive and tuple(archive.array(name, kinds, (NUM_JOINTS,), 256).tolist()) != values:
            raise InvalidInput(f"{archive.field}.{name}", "must be those of the SMPL-22 skeleton, in its order")


def _check_rotations(rotations: NDArray[np.float32], positions: NDArray[np.float32], field: str) -> None:
    if not np.isfinite(rotations).all():
        raise InvalidInput(field, "holds NaN or infinity")
    # The first test keeps the products of the second finite.
    if np.abs(rotations).max() > 2 or _deviation(rotations) > ROTATION_TOLERANCE or np.linalg.det(rotations).min() < 0:
        raise InvalidInput(field, "holds matrices that are not rotations")
    # Relative to the pelvis, where float32 is finer than the tolerance however far the dancer has travelled.
    fitted = kinematics.forward_kinematics(np.zeros((len(positions), 3)), rotations)
    distance = np.abs(fitted - (positions - positions[:, [PELVIS]])).max()
    if distance > KINEMATIC_TOLERANCE:
        raise InvalidInput(field, f"places joints {distance:.3g} m away from `positions`")


def _deviation(rotations: NDArray[np.float32]) -> float:
    """Largest entry of R^T R - I."""
    return float(np.abs(np.swapaxes(rotations, -1, -2) @ rotations - np.eye(3, dtype=np.float32)).max())


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
