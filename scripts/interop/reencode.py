"""A .pte taken apart and put together again with `flatc` and ExecuTorch's schema files.

A file is a FlatBuffer with an extended header, then segments. An XNNPACK delegate's segment is again a header, a
FlatBuffer and constants. Offsets and magic numbers: ExecuTorch's `exir/_serialize/_program.py` and
`backends/xnnpack/serialization/xnnpack_graph_serialize.py`.
"""

import importlib.resources
import json
import pathlib
import re
import struct
import subprocess
import tempfile

EXTENDED = struct.Struct("<4sIQQQ")  # magic, length, program size, segment base, segment data size
DELEGATE = struct.Struct("<4x4sHIIIQ")  # zero root offset; magic, header size, FlatBuffer and constant extents
ALIGNMENT = 128


class Unstable(Exception):
    """Decoding what was encoded gives something else, or flatc refused the file."""


def _padded(data, alignment):
    return data + bytes(-len(data) % alignment)


class Schema:
    """flatc with one schema. Reals are declared as integers of their width: flatc's JSON would round them."""

    def __init__(self, folder, package, name, included=()):
        self.path = pathlib.Path(folder, name)
        for file in (name, *included):
            text = importlib.resources.files(package).joinpath(file).read_text()
            text = re.sub(r"(:\s*\[?)float\b", r"\1uint", text)
            pathlib.Path(folder, file).write_text(re.sub(r"(:\s*\[?)double\b", r"\1ulong", text))
        self.identifier = re.search(r'file_identifier "(\w+)"', self.path.read_text())[1].encode()
        self.flatc = importlib.resources.files("executorch").joinpath("data/bin/flatc")

    def _flatc(self, *arguments):
        result = subprocess.run([str(self.flatc), *map(str, arguments)], capture_output=True, text=True)
        if result.returncode != 0:
            raise Unstable("flatc: " + (result.stdout + result.stderr).strip()[-200:])

    def decode(self, data):
        if data[4:8] != self.identifier:
            raise Unstable(f"file identifier {data[4:8]!r} instead of {self.identifier!r}")
        with tempfile.TemporaryDirectory() as work:
            path = pathlib.Path(work, "data.bin")
            path.write_bytes(data)
            self._flatc("--json", "--strict-json", "-o", work, self.path, "--", path)
            return json.loads(path.with_suffix(".json").read_text())

    def encode(self, value):
        with tempfile.TemporaryDirectory() as work:
            path = pathlib.Path(work, "data.json")
            path.write_text(json.dumps(value))
            self._flatc("-b", "-o", work, self.path, path)
            return next(file for file in pathlib.Path(work).iterdir() if file != path).read_bytes()

    def encode_stably(self, value):
        data = self.encode(value)
        if self.decode(data) != value:
            raise Unstable(f"{self.path.name}: decoding the encoded file gives something else")
        return data


class Schemas:
    """The schemas of a program and of an XNNPACK delegate."""

    def __init__(self, folder):
        program, delegate = pathlib.Path(folder, "program"), pathlib.Path(folder, "delegate")
        program.mkdir()
        delegate.mkdir()
        self.program = Schema(program, "executorch.exir._serialize", "program.fbs", ["scalar_type.fbs"])
        self.delegate = Schema(delegate, "executorch.backends.xnnpack.serialization", "schema.fbs")

    def reencode(self, data):
        """The bytes of a .pte with every FlatBuffer decoded and encoded anew, and the number of delegates in it."""
        magic, length, size, base, _ = EXTENDED.unpack_from(data, 8)
        if magic != b"eh00" or length < EXTENDED.size:
            raise Unstable("no extended header")
        program = self.program.decode(data[:size])
        self.program.encode_stably(program)
        segments, delegates, offset = b"", 0, 0
        for segment in program["segments"]:
            start = base + segment.get("offset", 0)
            content = data[start : start + segment.get("size", 0)]
            if content[4:8] == b"XH00":
                content, delegates = self._delegate(content), delegates + 1
            segments = _padded(segments, ALIGNMENT)
            offset = len(segments)
            segment.update(offset=offset, size=len(content))
            for key in [key for key, value in segment.items() if value == 0]:
                del segment[key]
            segments += content
        return self._assemble(self.program.encode_stably(program), segments), delegates

    def _delegate(self, content):
        _, header, start, size, constants, constant_size = DELEGATE.unpack_from(content)
        graph = self.delegate.encode_stably(self.delegate.decode(content[start : start + size]))
        front = _padded(bytes(content[:header]), 16)
        body = _padded(front + graph, 16)
        front = bytearray(body)
        DELEGATE.pack_into(front, 0, b"XH00", header, len(front) - len(_padded(graph, 16)), len(graph), len(body),
                           constant_size)
        return bytes(front) + content[constants : constants + constant_size]

    @staticmethod
    def _assemble(program, segments):
        """Puts the extended header between the identifier and the first table, which moves the root by its length."""
        room = len(_padded(bytes(EXTENDED.size), 64))
        root = struct.unpack_from("<I", program)[0]
        size = len(program) + room
        base = size + -size % ALIGNMENT
        header = EXTENDED.pack(b"eh00", EXTENDED.size, size, base, len(segments))
        moved = struct.pack("<I", root + room) + program[4:8] + header.ljust(room, b"\0") + program[8:]
        return _padded(moved, ALIGNMENT) + segments
