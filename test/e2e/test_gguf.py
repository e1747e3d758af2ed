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


def main():
    dump, files = sys.argv[1], [pathlib.Path(f) for f in sys.argv[2:]]
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        written = directory / "formats.gguf"
        write_all_formats(written)
        for path in [written, *files]:
            compare(dump, path, directory / "dump.safetensors")


if __name__ == "__main__":
    main()
