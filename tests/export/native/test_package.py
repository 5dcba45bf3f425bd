"""Reasons to refuse a compiled engine: no compiler, another processor, broken files, unknown operators or layers."""

import hashlib
import json
import random
import shutil
import struct
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from native_engine import build_denoiser, needs_compiler, program_of, small_denoiser, some_inputs

from choreo.errors import InvalidArtifact, MissingDependency
from export.native import compiling, loader, package
from export.native.compiling import compiled, find_compiler
from export.native.loader import MANIFEST, NativeSession, NativeUnavailable
from export.native.lowering import ENTRY_POINTS, lower
from export.native.program import CannotLower, Program, Shape


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    build_denoiser(*small_denoiser(), folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to be broken."""
    return Path(shutil.copytree(made, tmp_path / "native"))


def sealed(folder: Path, content: bytes) -> Path:
    """The folder with another program and its hash in the manifest."""
    program_of(folder).write_bytes(content)
    return changed(folder, program={"file": "native.bin", "sha256": hashlib.sha256(content).hexdigest()})


def changed(folder: Path, **fields: Any) -> Path:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | fields))
    return folder


@needs_compiler
class TestFiles:
    def test_a_complete_engine_is_loaded(self, folder: Path) -> None:
        assert loader.exists(folder)
        loader.check(folder)
        NativeSession(folder).close()

    def test_the_same_arguments_give_the_same_bytes(self, made: Path, tmp_path: Path) -> None:
        files = build_denoiser(*small_denoiser(), tmp_path).files
        assert len(files) == 4
        assert all(file.read_bytes() == (made / file.name).read_bytes() for file in files)

    @pytest.mark.parametrize("file", ["native.bin", "native-*.so"])
    @pytest.mark.parametrize("how", ["shorter", "longer", "empty", "gone", "other"])
    def test_changed_files_are_refused(self, folder: Path, file: str, how: str) -> None:
        (path,) = folder.glob(file)
        content = path.read_bytes()
        if how == "gone":
            path.unlink()
        else:
            broken = {"shorter": content[:-100], "longer": content + b"x", "empty": b"", "other": content[::-1]}
            path.write_bytes(broken[how])
        for check in (loader.check, NativeSession):
            with pytest.raises(NativeUnavailable):
                check(folder)

    @pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"format": 1, "machine": "x"}', "null"])
    def test_a_broken_manifest_is_refused(self, folder: Path, text: str | None) -> None:
        (folder / MANIFEST).unlink()
        if text is not None:
            (folder / MANIFEST).write_text(text)
        with pytest.raises(NativeUnavailable, match="cannot be read"):
            NativeSession(folder)

    def test_a_manifest_does_not_lead_out_of_its_folder(self, folder: Path) -> None:
        program = program_of(folder)
        outside = Path(shutil.copy(program, folder.parent / "elsewhere.bin"))
        digest = hashlib.sha256(outside.read_bytes()).hexdigest()
        with pytest.raises(NativeUnavailable):
            NativeSession(changed(folder, program={"file": "../elsewhere.bin", "sha256": digest}))

    @pytest.mark.parametrize("part", ["inputs", "output"])
    def test_a_manifest_with_other_shapes_than_the_program(self, folder: Path, part: str) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        if part == "inputs":
            manifest["inputs"][0][1][0] += 1
        else:
            manifest["output"][1][0] += 1
        with pytest.raises(NativeUnavailable, match="other inputs or another output"):
            NativeSession(changed(folder, **manifest))

    def test_another_format(self, folder: Path) -> None:
        with pytest.raises(NativeUnavailable, match="format 99"):
            NativeSession(changed(folder, format=99))

    def test_another_processor(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        flags = json.loads((folder / MANIFEST).read_text())["cpu_flags"]
        assert set(flags) <= loader.cpu_flags()
        monkeypatch.setattr(loader, "cpu_flags", lambda: frozenset(flags[1:]))
        with pytest.raises(NativeUnavailable, match=f"lacks {flags[0]}"):
            NativeSession(folder)
        monkeypatch.undo()
        with pytest.raises(NativeUnavailable, match="vax"):
            NativeSession(changed(folder, machine="vax"))

    def test_a_file_that_is_not_a_library(self, folder: Path) -> None:
        (folder / "text.so").write_text("no library")
        digest = hashlib.sha256(b"no library").hexdigest()
        with pytest.raises(NativeUnavailable, match="cannot be loaded"):
            NativeSession(changed(folder, library={"file": "text.so", "sha256": digest}))


@needs_compiler
class TestPrograms:
    """The hash in the manifest is right: the engine itself has to find what is wrong."""

    @pytest.mark.parametrize(
        ("at", "value", "message"),
        [
            (0, b"ELF", "not a program"),
            (8, struct.pack("<I", 99), "another version"),
            (12, struct.pack("<I", 3), "another width"),
            (16, struct.pack("<q", -64), "outside its file"),
            (24, struct.pack("<q", 1 << 61), "outside its file"),
            (32, struct.pack("<q", 1 << 40), "outside its file"),
            (40, struct.pack("<q", 1 << 62), "outside its file"),
            (48, struct.pack("<q", 5), "truncated"),
            (56, struct.pack("<q", -1), "outside its file"),
            (56, struct.pack("<q", 1 << 40), "outside its file"),
            (56, struct.pack("<q", 4), "has no end"),
            (56, struct.pack("<q", 0), "name is not in the program"),
            (64, b"\0", "not made of letters"),
            (64, b"a b", "not made of letters"),
        ],
    )
    def test_headers(self, folder: Path, at: int, value: bytes, message: str) -> None:
        content = bytearray(program_of(folder).read_bytes())
        content[at : at + len(value)] = value
        with pytest.raises(NativeUnavailable, match=message):
            NativeSession(sealed(folder, bytes(content)))

    @pytest.mark.parametrize("size", [0, 1, 63, 64, 1000])
    def test_short_files(self, folder: Path, size: int) -> None:
        with pytest.raises(NativeUnavailable):
            NativeSession(sealed(folder, program_of(folder).read_bytes()[:size]))

    def test_no_word_makes_it_reach_outside(self, folder: Path) -> None:
        """Words of operators and buffers replaced at random: the program is refused, or evaluated with any result."""
        content, rng = program_of(folder).read_bytes(), random.Random(0)
        words_at, words = struct.unpack("<qq", content[16:32])
        inputs = some_inputs(small_denoiser()[1], 3)
        refused = evaluated = 0
        for _ in range(300):
            broken = bytearray(content)
            for _ in range(rng.choice([1, 1, 1, 2, 5])):
                at = words_at + 8 * rng.randrange(words)
                (value,) = struct.unpack("<q", broken[at : at + 8])
                values = [0, -1, 1, 2, value + 1, value - 1, 2 * value, 1 << 24, (1 << 63) - 1, rng.randrange(1 << 12)]
                broken[at : at + 8] = struct.pack("<q", max(-(1 << 63), min(rng.choice(values), (1 << 63) - 1)))
            try:
                session = NativeSession(sealed(folder, bytes(broken)))
            except NativeUnavailable:
                refused += 1
                continue
            session.run(None, inputs)
            session.close()
            evaluated += 1
        assert refused > 100
        assert evaluated > 10

    def test_unknown_operators_are_named(self, folder: Path) -> None:
        program = Program(package.lanes_of(compiled()), {"x": (4,)}, ("y", (4,)))
        program.emit("silu", program.input("x"), 4, program.result())
        program.emit("quantum_product")
        program.emit("relu", call=True)
        program.constant(np.zeros(1))
        with pytest.raises(NativeUnavailable, match=r"does not know: relu, quantum_product$"):
            NativeSession(sealed(folder, program.encode()))

    def test_operators_with_the_wrong_parameters(self, folder: Path) -> None:
        for parameters, message in (((), "too few"), ((0, 4, 1, 7), "too many"), ((0, 5, 1), "outside a buffer")):
            program = Program(package.lanes_of(compiled()), {"x": (4,)}, ("y", (4,)))
            program.emit("silu", *parameters)
            program.constant(np.zeros(1))
            with pytest.raises(NativeUnavailable, match=message):
                NativeSession(sealed(folder, program.encode()))


@needs_compiler
def test_two_kernels_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "another.cpp"
    kernels = Path(compiling.__file__).parent / "kernels"
    source.write_text(
        f"""#include "{kernels}/registry.h"
        namespace {{ struct Another : native::Operator {{
            explicit Another(native::Reader&) {{}}
            void run(const native::Frame&) override {{}}
        }}; REGISTER_OPERATOR("silu", Another) }}"""
    )
    monkeypatch.setattr(compiling, "SOURCES", (*compiling.SOURCES, source))
    compiled.cache_clear()
    try:
        with pytest.raises(InvalidArtifact, match="several operators named silu"):
            build_denoiser(*small_denoiser(), tmp_path / "native")
    finally:
        compiled.cache_clear()


class TestCompilers:
    @pytest.fixture(autouse=True)
    def _forget(self) -> Any:
        compiled.cache_clear()
        yield
        compiled.cache_clear()

    def test_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
        with pytest.raises(MissingDependency, match=r"install g\+\+"):
            build_denoiser(*small_denoiser(), tmp_path / "native")

    def test_another_compiler_named_gcc(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = tmp_path / "g++"
        fake.write_text("#!/bin/sh\necho another compiler\n")
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.setenv("CXX", str(fake))
        with pytest.raises(MissingDependency):
            find_compiler()

    @needs_compiler
    def test_source_that_does_not_compile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = tmp_path / "engine.cpp"
        source.write_text("int f( {")
        monkeypatch.setattr(compiling, "SOURCES", (source,))
        with pytest.raises(InvalidArtifact, match="does not compile"):
            compiled()

    @needs_compiler
    def test_an_engine_that_computes_something_else(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        other = small_denoiser(seed=1)[0]
        monkeypatch.setattr(package, "lower", lambda _, *arguments: lower(other, *arguments))
        with pytest.raises(InvalidArtifact, match="differs from torch"):
            build_denoiser(*small_denoiser(), tmp_path)


def lowered(module: torch.nn.Module, lowering: str = "unet", outputs: dict[str, Shape] | None = None) -> Program:
    graph = small_denoiser()[1].graph("denoiser")
    return lower(module, graph.input_shapes, outputs or graph.output_shapes, 16, lowering)


def lower_double(module: torch.nn.Module, program: Program) -> None:
    """A lowering of another package."""
    program.emit("product", program.input("x"), program.result())


class TestLowering:
    def test_other_networks(self) -> None:
        denoiser, _ = small_denoiser()
        with pytest.raises(CannotLower, match="Linear"):
            lowered(torch.nn.Linear(2, 2))
        denoiser.network = torch.nn.Linear(2, 2)
        with pytest.raises(CannotLower, match="Linear"):
            lowered(denoiser)

    def test_even_convolutions(self) -> None:
        denoiser, _ = small_denoiser()
        denoiser.network.down[0].residual.conv1 = torch.nn.Conv2d(16, 16, (1, 4))
        with pytest.raises(CannotLower, match="4 taps"):
            lowered(denoiser)

    def test_several_outputs(self) -> None:
        with pytest.raises(CannotLower, match="one output"):
            lowered(small_denoiser()[0], outputs={"x0": (24, 6), "eps": (24, 6)})

    @pytest.mark.parametrize("name", ["", "dit", "no_module:lower", "export.native.lowering:nothing", "a:b:c"])
    def test_lowerings_that_do_not_exist(self, name: str) -> None:
        with pytest.raises(CannotLower, match="lowering"):
            lowered(small_denoiser()[0], name)

    def test_another_lowering_by_its_function(self) -> None:
        assert lowered(torch.nn.Linear(2, 2), f"{__name__}:lower_double").operators() == ["product"]

    def test_another_lowering_by_an_entry_point(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def installed(group: str, name: str) -> list[EntryPoint]:
            found = EntryPoint("double", f"{__name__}:lower_double", ENTRY_POINTS)
            return [found] if (group, name) == (found.group, found.name) else []

        monkeypatch.setattr("export.native.lowering.entry_points", installed)
        assert lowered(torch.nn.Linear(2, 2), "double").operators() == ["product"]
        with pytest.raises(CannotLower, match="no lowering named 'triple'"):
            lowered(torch.nn.Linear(2, 2), "triple")

    def test_only_buffers_that_are_never_in_use_together_share_memory(self) -> None:
        program = lowered(small_denoiser()[0])
        places = program._placed("block")
        steps = list(enumerate([*program._call, *program._block]))
        for a, b in ((a, b) for a in places for b in places if a.number < b.number):
            used_a, used_b = ([i for i, (_, p) in steps if x in p] for x in (a, b))
            if used_a[0] <= used_b[-1] and used_b[0] <= used_a[-1]:
                assert places[a] + a.floats <= places[b] or places[b] + b.floats <= places[a]
