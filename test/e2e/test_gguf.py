# Dequantised tensors against PyPI's gguf package, bit for bit. SPDX-License-Identifier: Apache-2.0
"""test_gguf.py DUMP_TENSORS [FILE.gguf...]

Writes a GGUF file with random blocks of every format that Retort reads, several shapes each, has
dump-tensors dequantise it, and compares with gguf.quants.dequantize. Files given are compared too.
"""
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np
from safetensors.numpy import load_file

T = gguf.GGMLQuantizationType
# Where a block's f16 numbers are: random bits there must be finite, since NaNs have no one pattern.
HALVES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ4_NL: [0], T.IQ4_XS: [0], T.TQ1_0: [52], T.TQ2_0: [64], T.MXFP4: [], T.NVFP4: [],
}


def random_tensor(rng, kind, rows, columns):
    """Stored bytes of rows x columns numbers."""
    if kind == T.F32:
        return rng.standard_normal((rows, columns)).astype(np.float32)
    if kind == T.F16:
        return rng.standard_normal((rows, columns)).astype(np.float16)
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    if kind == T.BF16:
        values = rng.standard_normal((rows * columns,)).astype(np.float32)
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(rows, -1)
    for at in HALVES[kind]:
        halves = rng.standard_normal(len(blocks)) * 10.0 ** rng.integers(-7, 4, len(blocks))
        blocks[:, at : at + 2] = halves.astype(np.float16).view(np.uint8).reshape(-1, 2)
    if kind == T.MXFP4:
        blocks[:, 0] %= 250  # an exponent: numbers must be finite, here too
    return blocks.reshape(rows, -1)


def write_all_formats(path):
    rng = np.random.default_rng(7)
    writer = gguf.GGUFWriter(str(path), "llama")
    for kind in [T.F32, T.F16, T.BF16, *HALVES]:
        for rows, columns in [(1, 256), (3, 512), (17, 256), (1000, 1024)]:
            data = random_tensor(rng, kind, rows, columns)
            plain = kind in (T.F32, T.F16)
            name = f"{kind.name}.{rows}x{columns}"
            writer.add_tensor(name, data, raw_dtype=None if plain else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def compare(dump, path, out):
    subprocess.run([dump, str(path), str(out)], check=True)
    got = load_file(str(out))
    reader = gguf.GGUFReader(str(path))
    assert len(got) == len(reader.tensors), (len(got), len(reader.tensors))
    count = 0
    for tensor in reader.tensors:
        want = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        shape = tuple(int(n) for n in reversed(tensor.shape))
        value = got[tensor.name]
        assert value.shape == shape, (tensor.name, value.shape, shape)
        same = value.view(np.uint32).ravel() == np.ascontiguousarray(want).view(np.uint32).ravel()
        assert same.all(), f"{tensor.name}: {(~same).sum()} of {same.size} numbers differ"
        count += same.size
    print(f"{path.name}: {len(got)} tensors, {count} numbers, all equal")


def refusal(dump, path, out):
    """The one line that the file is refused with."""
    done = subprocess.run([dump, str(path), str(out)], capture_output=True, text=True)
    assert done.returncode in (3, 6), (done.returncode, done.stderr)
    (line,) = done.stderr.splitlines()
    return line


def write_split(folder, name, tensors, seed):
    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(folder / name), "llama", split_max_tensors=2)
    for i in range(tensors):
        writer.add_tensor(f"t{i}", rng.standard_normal((4, 32 + i)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob(pathlib.Path(name).stem + "-*"))


def check_split(dump, folder):
    """Split files are read whole, whichever part is given, and refused if they do not fit together."""
    out = folder / "split.safetensors"
    parts = write_split(folder, "m.gguf", 5, 1)
    assert len(parts) == 3, parts
    for part in parts:
        subprocess.run([dump, str(part), str(out)], check=True)
        got = load_file(str(out))
        assert sorted(got) == [f"t{i}" for i in range(5)], got.keys()
        for other in parts:
            for tensor in gguf.GGUFReader(str(other)).tensors:
                assert np.array_equal(got[tensor.name].ravel(), tensor.data.ravel()), tensor.name
    other = write_split(folder, "other.gguf", 6, 2)
    second = parts[1].read_bytes()
    parts[1].write_bytes(other[1].read_bytes())
    assert "belongs to another model" in refusal(dump, parts[0], out)
    parts[1].write_bytes(parts[0].read_bytes())
    assert "belongs to another model" in refusal(dump, parts[0], out)
    parts[1].unlink()
    assert "m-00002-of-00003.gguf: is missing" in refusal(dump, parts[0], out)
    parts[1].write_bytes(second)
    renamed = folder / "renamed.gguf"
    renamed.write_bytes(second)
    assert "is part 2 of 3 of a split model" in refusal(dump, renamed, out)
    print("split files: the same from every part; refused if they do not fit together")


def main():
    dump, files = sys.argv[1], [pathlib.Path(f) for f in sys.argv[2:]]
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        written = directory / "formats.gguf"
        write_all_formats(written)
        check_split(dump, directory)
        for path in [written, *files]:
            compare(dump, path, directory / "dump.safetensors")


if __name__ == "__main__":
    main()
