# Bundles through the C API, on the CPU and on simulated GPUs: what several tests share.
# SPDX-License-Identifier: Apache-2.0
"""Session(library, bundle, device) runs steps; Sim(library) is the simulated GPU's controls."""
import ctypes
import json
import hashlib
import os
import pathlib
import subprocess
import time

import numpy as np

FAKE_NVCC = pathlib.Path(__file__).parent / "fake_nvcc" / "nvcc"


class Row(ctypes.Structure):
    _fields_ = [("token", ctypes.c_int32), ("slot", ctypes.c_int32), ("position", ctypes.c_int32)]


class SessionOptions(ctypes.Structure):
    _fields_ = [("struct_bytes", ctypes.c_size_t), ("threads", ctypes.c_uint32),
                ("slots", ctypes.c_uint32), ("max_context", ctypes.c_uint32),
                ("cache_bytes", ctypes.c_uint64), ("device", ctypes.c_char_p)]


class Sampling(ctypes.Structure):
    _fields_ = [("struct_bytes", ctypes.c_size_t), ("temperature", ctypes.c_float),
                ("top_p", ctypes.c_float), ("top_k", ctypes.c_uint32), ("seed", ctypes.c_uint64)]


class SessionInfo(ctypes.Structure):
    _fields_ = [("struct_bytes", ctypes.c_size_t), ("threads", ctypes.c_uint32),
                ("slots", ctypes.c_uint32), ("max_context", ctypes.c_uint32),
                ("max_rows", ctypes.c_uint32), ("pages", ctypes.c_uint64),
                ("free_pages", ctypes.c_uint64), ("cache_bytes", ctypes.c_uint64),
                ("device", ctypes.c_char_p), ("step_seconds", ctypes.c_double)]


def load(library):
    lib = ctypes.CDLL(str(library))
    for name in ("retort_session_error", "retort_model_manifest", "retort_session_counters"):
        getattr(lib, name).restype = ctypes.c_char_p
    return lib


class Sampler:
    """Picks tokens from logits, or has a step pick them."""

    def __init__(self, library, temperature=0.0, top_p=0.0, top_k=0, seed=0):
        self.lib, self.handle = load(library), ctypes.c_void_p()
        options = Sampling(ctypes.sizeof(Sampling), temperature, top_p, top_k, seed)
        error = ctypes.create_string_buffer(1024)
        status = self.lib.retort_sampler_create(ctypes.byref(options), ctypes.byref(self.handle), error)
        assert status == 0, error.value.decode()

    def sample(self, logits):
        logits, token = np.ascontiguousarray(logits, np.float32), ctypes.c_int32()
        status = self.lib.retort_sample(self.handle, logits.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
                                        ctypes.c_size_t(len(logits)), ctypes.byref(token))
        assert status == 0
        return token.value

    def __del__(self):
        self.lib.retort_sampler_destroy(self.handle)


class Session:
    """A session; steps keep count of each slot's positions."""

    def __init__(self, library, path, device, slots=1, context=128, threads=2):
        self.lib = load(library)
        self.model, self.session = ctypes.c_void_p(), ctypes.c_void_p()
        error = ctypes.create_string_buffer(1024)
        status = self.lib.retort_model_open(str(path).encode(), None, ctypes.byref(self.model), error)
        assert status == 0, error.value.decode()
        self.manifest = json.loads(self.lib.retort_model_manifest(self.model))
        self.vocab = self.manifest["model"]["vocab"]
        options = SessionOptions(ctypes.sizeof(SessionOptions), threads, slots, context, 0,
                                 device.encode())
        status = self.lib.retort_session_create(self.model, ctypes.byref(options),
                                                ctypes.byref(self.session), error)
        assert status == 0, error.value.decode()
        self.length = [0] * slots

    def info(self):
        info = SessionInfo(ctypes.sizeof(SessionInfo))
        assert self.lib.retort_session_get_info(self.session, ctypes.byref(info)) == 0
        return info

    def counters(self):
        """What was counted since the last call; None on a device that counts nothing."""
        text = self.lib.retort_session_counters(self.session)
        return json.loads(text) if text else None

    def _arrays(self, rows, wanted):
        wanted = list(range(len(rows)) if wanted is None else wanted)
        array = (Row * len(rows))()
        for i, (token, slot) in enumerate(rows):
            array[i] = Row(token, slot, self.length[slot])
            self.length[slot] += 1
        return array, wanted, (ctypes.c_size_t * len(wanted))(*wanted)

    def sample(self, rows, samplers, wanted=None):
        """A step that gives tokens: a list, one for each wanted row, of what its sampler picks."""
        array, wanted, indices = self._arrays(rows, wanted)
        handles = (ctypes.c_void_p * len(wanted))(*[sampler.handle for sampler in samplers])
        tokens = (ctypes.c_int32 * len(wanted))()
        status = self.lib.retort_step_sample(self.session, array, ctypes.c_size_t(len(rows)), indices,
                                             ctypes.c_size_t(len(wanted)), handles, tokens)
        assert status == 0, self.lib.retort_session_error(self.session).decode()
        return list(tokens)

    def step(self, rows, wanted=None):
        """rows: (token, slot) in order. Logits [wanted][vocab]; wanted: indices, None for all."""
        array, wanted, indices = self._arrays(rows, wanted)
        logits = np.empty((len(wanted), self.vocab), np.float32)
        status = self.lib.retort_step(
            self.session, array, ctypes.c_size_t(len(rows)), indices, ctypes.c_size_t(len(wanted)),
            logits.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))
        assert status == 0, self.lib.retort_session_error(self.session).decode()
        return logits

    def tokenize(self, text):
        raw = text.encode()
        tokens, count = (ctypes.c_int32 * (3 * len(raw) + 16))(), ctypes.c_size_t()
        status = self.lib.retort_tokenize(self.model, raw, ctypes.c_size_t(len(raw)), 0, tokens,
                                          ctypes.c_size_t(len(tokens)), ctypes.byref(count), None)
        assert status == 0
        return list(tokens[:count.value])

    def detokenize(self, tokens):
        array, size = (ctypes.c_int32 * len(tokens))(*tokens), ctypes.c_size_t()
        text = ctypes.create_string_buffer(1 << 16)
        status = self.lib.retort_detokenize(self.model, array, ctypes.c_size_t(len(tokens)), 1, text,
                                            ctypes.c_size_t(len(text)), ctypes.byref(size), None)
        assert status == 0
        return text.raw[:size.value].decode()

    def reset(self, slot=0):
        assert self.lib.retort_slot_reset(self.session, slot) == 0
        self.length[slot] = 0

    def close(self):
        self.lib.retort_session_destroy(self.session)
        self.lib.retort_model_destroy(self.model)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Sim:
    """The simulated GPU that sessions of this process use (kernels/sim/sim.h)."""

    def __init__(self, library):
        self.lib = ctypes.CDLL(str(pathlib.Path(library).parent / "libretort_sim.so"))
        self.lib.retort_sim_num_findings.restype = ctypes.c_size_t
        self.lib.retort_sim_report.restype = ctypes.c_size_t
        self.lib.retort_sim_error.restype = ctypes.c_char_p

    def set(self, **settings):
        for name, value in settings.items():
            assert self.lib.retort_sim_set(name.encode(), ctypes.c_longlong(value)) == 1, name

    def report(self):
        size = self.lib.retort_sim_report(None, ctypes.c_size_t(0))
        text = ctypes.create_string_buffer(size)
        self.lib.retort_sim_report(text, ctypes.c_size_t(size))
        return json.loads(text.value)

    def clear(self):
        self.lib.retort_sim_clear()


class Timer:
    """with Timer("decode"): ... prints what it took, of the clock and of the processor."""

    def __init__(self, what):
        self.what = what

    def __enter__(self):
        self.start, self.cpu = time.monotonic(), time.process_time()
        return self

    def __exit__(self, *_):
        self.seconds, self.cpu = time.monotonic() - self.start, time.process_time() - self.cpu
        print(f"  {self.what}: {self.seconds:.1f} s ({self.cpu:.1f} s of the processor)", flush=True)


def retort(command, *arguments, check=True, fake_nvcc=True, **environment):
    """Runs `retort`, with an nvcc that compiles nothing, for the simulated GPU needs no code."""
    if fake_nvcc:
        environment["CUDACXX"] = str(FAKE_NVCC)
    return subprocess.run([command, *map(str, arguments)], check=check, capture_output=True,
                          text=True, env=os.environ | environment)


def rehashed(folder, **changes):
    """Makes the manifest of a bundle that is a folder fit small parts that were changed or removed; `changes` are keys of it."""
    folder = pathlib.Path(folder)
    before = (folder / "manifest.json").read_bytes()
    manifest = json.loads(before) | changes
    parts = manifest["parts"]
    for name in list(parts):
        if not (folder / name).exists():
            del parts[name]
        elif len(parts[name]["chunks"]) == 1:
            content = (folder / name).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            parts[name] |= {"bytes": len(content), "sha256": digest, "chunks": [digest]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    sums = (folder / "manifest.sha256").read_text()
    old, new = (hashlib.sha256(text).hexdigest() for text in (before, (folder / "manifest.json").read_bytes()))
    assert old in sums
    (folder / "manifest.sha256").write_text(sums.replace(old, new))


def executor_logits(tool, library, checkpoint, sequences, vocab, folder, pipeline=None):
    """Logits of whole sequences of tokens by the executor in f32, of the model that `pipeline` makes."""
    path = pathlib.Path(folder) / "sequences"
    path.write_text("".join(" ".join(map(str, tokens)) + "\n" for tokens in sequences))
    out = pathlib.Path(folder) / "logits"
    command = [tool, library, checkpoint, "logits", "f32", path, out]
    subprocess.run([*map(str, command), *([pipeline] if pipeline else [])], check=True)
    rows = np.fromfile(out, np.float32).reshape(-1, vocab)
    return np.split(rows, np.cumsum([len(tokens) for tokens in sequences])[:-1])
