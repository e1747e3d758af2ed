# A compiled bundle of the real teacher: against the executor, and against itself run in other ways.
# SPDX-License-Identifier: Apache-2.0
"""test_bundle.py RETORT LIBRETORT TEACHER CORPUS

1. `none` gives the executor's f32 logits within 1e-2 (so the likeliest token differs only where two
   are within 2e-2 of each other); int8 and int4 stay within a divergence from the teacher.
2. One pass, row by row, chunks of any size, and rows of several slots in one step give the same bits.
"""
import ctypes
import json
import pathlib
import random
import subprocess
import sys
import tempfile

RETORT, LIBRARY, TEACHER, CORPUS = sys.argv[1:]
LOGITS_TOLERANCE = 1e-2
# Nats a token on 4,000 bytes, about three times what is measured.
KL_LIMIT = {"int8": 0.03, "int4": 1.5}


def retort(*arguments):
    return subprocess.run([RETORT, *arguments], check=True, capture_output=True, text=True).stdout


def compare_with_executor(bundle, recipe, text_bytes):
    figures = json.loads(retort("eval", bundle, "--corpus", CORPUS, "--against", TEACHER,
                                "--text-bytes", str(text_bytes), "--json"))
    print(f"{recipe}: {figures['tokens']} tokens, largest logit difference "
          f"{figures['logits_max_difference']:.2e}, mean KL {figures['kl_mean']:.2e}, likeliest token "
          f"agrees on {100 * figures['top1_agreement']:.2f} %")
    return figures


class Row(ctypes.Structure):
    _fields_ = [("token", ctypes.c_int32), ("slot", ctypes.c_int32), ("position", ctypes.c_int32)]


class SessionOptions(ctypes.Structure):
    _fields_ = [("struct_bytes", ctypes.c_size_t), ("threads", ctypes.c_uint32),
                ("slots", ctypes.c_uint32), ("max_context", ctypes.c_uint32),
                ("cache_bytes", ctypes.c_uint64)]


class Session:
    """A session through the C API, with as many threads and slots."""

    def __init__(self, path, threads, slots):
        self.lib = ctypes.CDLL(LIBRARY)
        self.lib.retort_session_error.restype = ctypes.c_char_p
        self.model, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        error = ctypes.create_string_buffer(1024)
        status = self.lib.retort_model_open(path.encode(), None, ctypes.byref(self.model), error)
        assert status == 0, error.value
        self.lib.retort_model_manifest.restype = ctypes.c_char_p
        self.vocab = json.loads(self.lib.retort_model_manifest(self.model))["model"]["vocab"]
        options = SessionOptions(ctypes.sizeof(SessionOptions), threads, slots, 512, 0)
        status = self.lib.retort_session_create(self.model, ctypes.byref(options),
                                                ctypes.byref(self.session), error)
        assert status == 0, error.value

    def step(self, rows):
        """Logits of every row, as bytes: equality is equality of bits."""
        array = (Row * len(rows))(*[Row(*row) for row in rows])
        wanted = (ctypes.c_size_t * len(rows))(*range(len(rows)))
        logits = (ctypes.c_float * (len(rows) * self.vocab))()
        status = self.lib.retort_step(self.session, array, ctypes.c_size_t(len(rows)), wanted,
                                      ctypes.c_size_t(len(rows)), logits)
        assert status == 0, self.lib.retort_session_error(self.session)
        data = bytes(logits)
        return [data[i * 4 * self.vocab:(i + 1) * 4 * self.vocab] for i in range(len(rows))]

    def close(self):
        self.lib.retort_session_destroy(self.session)
        self.lib.retort_model_destroy(self.model)


def same_bits_however_run(path, recipe):
    rng = random.Random(7)
    first = [rng.randrange(1000, 40000) for _ in range(96)]
    second = [rng.randrange(1000, 40000) for _ in range(40)]

    def chunks(tokens, sizes, threads):
        session, out, at = Session(path, threads, 1), [], 0
        while at < len(tokens):
            size = next(sizes)
            part = tokens[at:at + size]
            out += session.step([(token, 0, at + i) for i, token in enumerate(part)])
            at += size
        session.close()
        return out

    def repeat(size):
        while True:
            yield size

    whole = chunks(first, repeat(64), 2)
    assert chunks(first, repeat(1), 2) == whole, f"{recipe}: row by row differs"
    assert chunks(first, repeat(64), 1) == whole, f"{recipe}: one thread differs"
    assert chunks(first, iter([5, 17, 1, 33, 40]), 2) == whole, f"{recipe}: odd chunks differ"
    alone = chunks(second, repeat(64), 2)

    session, mixed = Session(path, 2, 2), {0: [], 1: []}
    at = {0: 0, 1: 0}
    while at[0] < len(first) or at[1] < len(second):
        rows = []
        for slot, tokens in ((0, first), (1, second)):
            take = min(rng.randrange(0, 20), len(tokens) - at[slot])
            rows += [(tokens[at[slot] + i], slot, at[slot] + i) for i in range(take)]
            at[slot] += take
        if not rows:
            continue
        for row, logits in zip(rows, session.step(rows)):
            mixed[row[1]].append(logits)
    session.close()
    assert mixed[0] == whole and mixed[1] == alone, f"{recipe}: slots in one step differ"
    print(f"{recipe}: one pass, row by row, odd chunks, one thread, mixed slots: the same bits")


def main():
    with tempfile.TemporaryDirectory() as folder:
        for recipe in ("none", "int8", "int4"):
            bundle = str(pathlib.Path(folder) / f"{recipe}.retort")
            retort("compile", TEACHER, "--recipe", recipe, "-o", bundle, "-q")
            figures = compare_with_executor(bundle, recipe, 12000 if recipe == "none" else 4000)
            if recipe == "none":
                assert figures["logits_max_difference"] <= LOGITS_TOLERANCE, figures
            else:
                assert 0 < figures["kl_mean"] <= KL_LIMIT[recipe], figures
            same_bits_however_run(bundle, recipe)


main()
