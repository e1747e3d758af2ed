#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`retort serve` when the machine fails it: a log that cannot be written, a clock that jumps, ten thousand connections
that say nothing, a GPU that is lost (simulated: docs/cuda-sim.md).

    test_serve_faults.py RETORT
"""
import concurrent.futures
import pathlib
import resource
import socket
import subprocess
import sys
import tempfile
import time

import openai

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tiny
from bundles import retort
from test_serve import HELLO, Server, Test, everything, post

IDLE = 10_000
# Each look at the wall clock is a day from the one before, forth and back.
JUMPING_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  static _Atomic unsigned count;
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(id, now);
  if (id == CLOCK_REALTIME) now->tv_sec += count++ % 2 ? 86400 : -86400;
  return result;
}
time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
"""


def full_log(t):
    """The disk is full: answers go on, and lines that were lost are counted."""
    process = subprocess.Popen([t.retort, "serve", t.bundle, "--port", "0"], stdout=subprocess.PIPE, text=True,
                               stderr=open("/dev/full", "w"))
    try:
        url = process.stdout.readline().split()[4]
        client = openai.OpenAI(base_url=url + "/v1", api_key="x", max_retries=0, timeout=60)
        for _ in range(5):
            answer = client.chat.completions.create(model="m", messages=HELLO, max_tokens=2)
            t.check("an answer", answer.usage.completion_tokens == 2, answer)
        lost = 0
        until = time.time() + 20
        while lost < 5 and time.time() < until:
            text = client.get("/../metrics", cast_to=str)
            lost = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("retort:log_lines_dropped_total "))
        t.check("lines are counted", lost >= 5, lost)
    finally:
        process.terminate()
        t.check("ends as ever", process.wait(30) == 0)


def jumping_clock(t):
    source, library = t.work / "clock.c", t.work / "clock.so"
    source.write_text(JUMPING_CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    with Server(t, "--request-time", "30", "--idle-time", "20", "--drain", "20", LD_PRELOAD=str(library)) as s:
        for _ in range(5):
            answer = s.chat(max_tokens=20, extra_body={"ignore_eos": True})
            t.check("an answer", answer.usage.completion_tokens == 20, answer)
        stream = s.chat(max_tokens=300, stream=True, extra_body={"ignore_eos": True})
        next(stream)
        s.process.terminate()
        t.check("a stream to its end", sum(1 for _ in stream) > 100)
        t.check("ends", s.process.wait(30) == 0)


def idle_connections(t):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(IDLE, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if count < IDLE:
        print(f"only {count} connections: the limit of open files is {hard}")
    with Server(t, "--connections", count + 10, "--idle-time", 300) as s:
        memory = lambda: int((pathlib.Path(f"/proc/{s.process.pid}/statm").read_text()).split()[1]) * 4096
        before = memory()
        idle = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(count)]
        t.check("all are there", s.await_metric("http_connections", lambda n: n >= count))
        start = time.time()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda i: s.chat(max_tokens=4, seed=i, extra_body={"ignore_eos": True}), range(8)))
        t.check("others are answered", all(a.usage.completion_tokens == 4 for a in answers), answers)
        print(f"{count} idle connections: {(memory() - before) / count / 1e3:.1f} kB each; 8 answers in {time.time() - start:.2f} s")
        idle[7].sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        t.check("one of them asks after all", everything(idle[7]).startswith(b"HTTP/1.1 200"))
        for one in idle:
            one.close()
        t.check("all are gone", s.await_metric("http_connections", lambda n: n <= 10)) # but those that the package keeps


def lost_gpu(t):
    """What runs gets a 503, health goes red, and the process ends with 7."""
    tiny.write_gguf(t.work / "teacher.gguf", tiny.gguf_metadata(t.work / "hf" / "tokenizer.json"))
    bundle = t.work / "cuda.retort"
    retort(t.retort, "compile", t.work / "teacher.gguf", "--recipe", "int4", "--target", "cuda:sm_80", "-q", "-o", bundle)
    with Server(t, "--device", "sim", "--context", 64, "--slots", 2, bundles=[bundle], RETORT_SIM_LOSE_DEVICE="12") as s, s.connect() as c:
        body = {"prompt": "a", "max_tokens": 60, "ignore_eos": True}
        t.check("an answer before", s.raw(post("/v1/completions", body | {"max_tokens": 2}, "Connection: close\r\n")).startswith(b"HTTP/1.1 200"))
        c.sendall(post("/v1/completions", body) + b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        replies = everything(c)
        t.check("503 for it, and of its health", replies.count(b"HTTP/1.1 503") == 2 and b"device_lost" in replies, replies)
        t.check("exit code", s.process.wait(30) == 7, s.process.returncode)
    last = (t.work / "log.jsonl").read_text().splitlines()[-1]
    t.check("one line says why", last.startswith("retort serve: ") and "sim" in last, last)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="retort-faults-") as work:
        test = Test(sys.argv[1], pathlib.Path(work))
        for part in (full_log, jumping_clock, idle_connections, lost_gpu):
            start = time.time()
            part(test)
            print(f"{part.__name__}: {time.time() - start:.1f} s", flush=True)
        print(f"{test.failures} failures")
        sys.exit(test.failures != 0)
