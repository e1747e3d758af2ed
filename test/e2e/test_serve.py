#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`retort serve` through clients that are not ours, the openai package and curl; and through raw sockets
that do what no good client does.

    test_serve.py RETORT
"""
import concurrent.futures
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import openai

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import thorough
import tiny

TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + "
            "'<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
            "{% endif %}")
NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
TOLERANCE = 2e-3 # of log-probabilities; the bundle computes in another order than transformers
HELLO = [{"role": "user", "content": "hello"}]


class Server:
    """`retort serve` on a free port."""

    def __init__(self, test, *arguments, port=0, bundles=(), **environment):
        self.log = open(test.work / "log.jsonl", "ab")
        bundles = bundles or [test.bundle]
        self.process = subprocess.Popen(
            [test.retort, "serve", *map(str, bundles), "--port", str(port), *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=self.log, text=True, env=dict(os.environ) | environment)
        line = self.process.stdout.readline()
        assert line.startswith("retort serve: "), (line, self.process.wait(5))
        self.url = line.split()[4]
        self.port = int(self.url.rsplit(":", 1)[1])
        self.client = openai.OpenAI(base_url=self.url + "/v1", api_key="unused", max_retries=0, timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def chat(self, **fields):
        return self.client.chat.completions.create(model="m", messages=HELLO, **fields)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def raw(self, data, half_close=False):
        """All that comes back for some bytes until the server closes or is silent for long."""
        with self.connect() as s:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            return everything(s)

    def metric(self, name):
        """Of all models together."""
        reply = self.raw(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").decode()
        return sum(float(line.split()[1]) for line in reply.splitlines() if re.match(f"retort:{name}[ {{]", line))

    def await_metric(self, name, good):
        until = time.time() + 20
        while time.time() < until:
            if good(self.metric(name)):
                return True
            time.sleep(0.02)
        return False


def everything(s):
    data = b""
    try:
        while piece := s.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    except TimeoutError:
        data += b" and then nothing"
    return data


def post(path, body, extra=""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{extra}\r\n").encode() + body


class Test:
    def __init__(self, retort, work, template=TEMPLATE):
        self.retort, self.work, self.failures = retort, work, 0
        tiny.write_hf(work / "hf")
        settings = json.loads((work / "hf/tokenizer_config.json").read_text())
        (work / "hf/tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
        self.bundle = work / "m.retort"
        process = self.command("compile", work / "hf", "--recipe", "none", "-o", self.bundle)
        assert process.returncode == 0, process.stderr

    def command(self, *arguments, **environment):
        return subprocess.run([self.retort, *map(str, arguments)], text=True, capture_output=True, timeout=120,
                              env=dict(os.environ, RETORT_WORKSPACE=str(self.work / "ws")) | environment)

    def check(self, what, good, got=""):
        if not good:
            self.failures += 1
            print(f"FAILED: {what}: {got}", flush=True)

    def refused(self, what, kind, call, *words):
        try:
            self.check(what, False, call())
        except kind as error:
            self.check(what, all(word in str(error) for word in words), error)


def openai_package(t):
    with Server(t) as s:
        whole = s.chat(max_tokens=12, seed=3)
        t.check("an answer", whole.choices[0].finish_reason == "length" and whole.usage.completion_tokens == 12, whole)
        t.check("the same seed", s.chat(max_tokens=12, seed=3).choices[0].message.content
                == whole.choices[0].message.content)
        chunks = list(s.chat(max_tokens=12, seed=3, stream=True, stream_options={"include_usage": True}))
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        t.check("a stream says the same", text == whole.choices[0].message.content, text)
        t.check("its usage", chunks[-1].usage.total_tokens == whole.usage.total_tokens, chunks[-1])
        many = s.chat(max_tokens=4, n=3, seed=1)
        t.check("three choices", [c.index for c in many.choices] == [0, 1, 2], many)
        first = s.client.completions.create(model="m", prompt="The process", max_tokens=8, temperature=0)
        both = s.client.completions.create(model="m", prompt=["The process", "The file"], max_tokens=8, temperature=0)
        t.check("completions", both.choices[0].text == first.choices[0].text and len(both.choices) == 2, both)
        stop = first.choices[0].text[2:4]
        cut = s.client.completions.create(model="m", prompt="The process", max_tokens=8, temperature=0, stop=[stop])
        t.check("a stop text", cut.choices[0].text == first.choices[0].text.split(stop)[0]
                and cut.choices[0].finish_reason == "stop", cut)
        t.check("models", [m.id for m in s.client.models.list()] == ["m"]
                and s.client.models.retrieve("m").id == "m")
        t.refused("an unknown field", openai.BadRequestError, lambda: s.chat(extra_body={"tempo": 1}), "tempo")
        t.refused("a range", openai.BadRequestError, lambda: s.chat(temperature=-1), "0 to 100")
        t.refused("top_logprobs alone", openai.BadRequestError, lambda: s.chat(top_logprobs=2), "logprobs is not true")
        t.refused("tools", openai.BadRequestError, lambda: s.chat(
            tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}]), "chat template does not read")
        t.refused("another model", openai.NotFoundError, lambda: s.client.chat.completions.create(
            model="gpt-4", messages=HELLO), "'m'")
        t.refused("a long prompt", openai.BadRequestError, lambda: s.client.completions.create(
            model="m", prompt="word " * 5000), "context holds 1024")
        scored = s.chat(max_tokens=12, seed=3, logprobs=True, top_logprobs=2)
        scores = scored.choices[0].logprobs.content
        t.check("log-probabilities", scored.choices[0].message.content == whole.choices[0].message.content
                and len(scores) == 12 and all(len(x.top_logprobs) == 2 and x.logprob <= x.top_logprobs[0].logprob
                                              for x in scores), scores)
        chunks = s.chat(max_tokens=12, seed=3, logprobs=True, top_logprobs=2, stream=True)
        streamed = [x for c in chunks if c.choices[0].logprobs for x in c.choices[0].logprobs.content]
        t.check("and in a stream", [x.to_dict() for x in streamed] == [x.to_dict() for x in scores], streamed)
        again = s.chat(max_tokens=12, temperature=0, frequency_penalty=2, presence_penalty=2,
                       extra_body={"repetition_penalty": 1.2, "min_p": 0.1})
        t.check("penalties", again.choices[0].message.content != s.chat(max_tokens=12, temperature=0)
                .choices[0].message.content, again)
        token = s.client.completions.create(model="m", prompt="The", max_tokens=3, logit_bias={"262": 100}, logprobs=0)
        t.check("a bias", len(set(token.choices[0].logprobs.tokens)) == 1, token)
        t.check("SIGTERM with nothing to do", s.end() == 0)


def responses(t):
    """OpenAI's newer endpoint, as far as nothing is stored."""
    with Server(t) as s:
        ask = lambda **fields: s.client.responses.create(model="m", store=False, **fields)
        chat = s.client.chat.completions.create(
            model="m", messages=[{"role": "system", "content": "be brief"}, *HELLO], max_tokens=12, temperature=0)
        whole = ask(instructions="be brief", input="hello", max_output_tokens=12, temperature=0, metadata={"a": "b"})
        t.check("an answer", whole.output_text == chat.choices[0].message.content and whole.status == "incomplete"
                and whole.incomplete_details.reason == "max_output_tokens" and whole.metadata == {"a": "b"}, whole)
        t.check("usage", whole.usage.output_tokens == 12 and whole.usage.input_tokens == chat.usage.prompt_tokens
                and whole.usage.input_tokens_details.cached_tokens > 0, whole.usage)
        events = list(ask(instructions="be brief", input="hello", max_output_tokens=12, temperature=0, stream=True))
        t.check("events are counted", [e.sequence_number for e in events] == list(range(len(events))), events)
        text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        t.check("a stream says the same", text == whole.output_text == events[-1].response.output_text
                and events[0].type == "response.created" and events[-1].type == "response.incomplete", events)
        stop = {"stop": [whole.output_text[2:4]]}
        with s.client.responses.stream(model="m", store=False, instructions="be brief", input="hello", temperature=0,
                                       max_output_tokens=12, extra_body=stop) as stream:
            for _ in stream:
                pass
            final = stream.get_final_response()
            t.check("the package's own reading of it", final.status == "completed"
                    and final.output_text == whole.output_text.split(stop["stop"][0])[0], final)
        again = ask(input=[{"role": "user", "content": "hello"}, *[o.to_dict() for o in whole.output],
                           {"role": "user", "content": [{"type": "input_text", "text": "and"}]}], max_output_tokens=4)
        t.check("a conversation that goes on", again.usage.output_tokens == 4, again)
        t.refused("stored answers", openai.BadRequestError, lambda: s.client.responses.create(
            model="m", input="a", previous_response_id="resp_1"), "whole conversation")
        t.refused("too long", openai.BadRequestError, lambda: ask(input="word " * 5000), "context holds 1024", "input")


def log_probabilities(t):
    """As lm-evaluation-harness asks for them, against transformers."""
    import torch
    import transformers
    model = transformers.AutoModelForCausalLM.from_pretrained(t.work / "hf", dtype=torch.float32)
    rng = random.Random(3)
    prompts = [[rng.randrange(256) for _ in range(n)] for n in (1, 2, 63, 64, 65, 200, 300)]
    with Server(t, "--slots", 4) as s:
        reply = s.client.completions.create(model="m", prompt=prompts, max_tokens=1, logprobs=1, seed=1234, echo=True,
                                            temperature=0)
        for prompt, choice in zip(prompts, sorted(reply.choices, key=lambda c: c.index)):
            with torch.no_grad():
                truth = torch.log_softmax(model(torch.tensor([prompt])).logits[0].double(), -1)
            scores = choice.logprobs
            t.check("a score for each token", len(scores.token_logprobs) == len(prompt) + 1, choice)
            t.check("none for the first", scores.token_logprobs[0] is None and scores.top_logprobs[0] is None)
            for i, token in enumerate(prompt[1:]):
                ours, theirs = scores.token_logprobs[i + 1], float(truth[i, token])
                best = max(scores.top_logprobs[i + 1].values())
                t.check(f"token {i + 1} of {len(prompt)}", abs(ours - theirs) < TOLERANCE
                        and abs(best - float(truth[i].max())) < TOLERANCE, (ours, theirs, best))
            t.check("the next token", abs(scores.token_logprobs[-1] - float(truth[-1].max())) < TOLERANCE, choice)
        only = s.client.completions.create(model="m", prompt=prompts[3], max_tokens=0, logprobs=1, echo=True)
        t.check("a prompt alone", only.choices[0].logprobs.token_logprobs == reply.choices[3].logprobs.token_logprobs[:-1]
                and only.usage.completion_tokens == 0, only)


def prefixes(t):
    """A long system prompt is computed once; what follows says what it would have said."""
    system = "The file system holds " + " ".join(tiny.NOUNS * 4)
    ask = lambda s, question: s.client.chat.completions.create(
        model="m", seed=1, max_tokens=16,
        messages=[{"role": "system", "content": system}, {"role": "user", "content": question}])
    with Server(t, "--no-prefix-cache") as s:
        alone = [ask(s, q) for q in ("one", "two", "three")]
        t.check("nothing is kept", s.metric("prefix_cache_hits_total") == 0
                and alone[2].usage.prompt_tokens_details.cached_tokens == 0)
    with Server(t) as s:
        shared = [ask(s, q) for q in ("one", "two", "three")]
        t.check("the same answers", [a.choices[0].to_dict() for a in alone] == [a.choices[0].to_dict() for a in shared])
        cached = [a.usage.prompt_tokens_details.cached_tokens for a in shared]
        prompt = shared[0].usage.prompt_tokens
        t.check("most is computed once", cached[0] == 0 and prompt * 0.7 < cached[1] == cached[2] < prompt, (cached, prompt))
        t.check("metrics", s.metric("prefix_cache_hits_total") == sum(cached)
                and s.metric("prefix_cache_queries_total") == sum(a.usage.prompt_tokens for a in shared))
    with Server(t, RETORT_SERVE_NO_PREFIX_CACHE="true") as s:
        ask(s, "one"), ask(s, "one")
        t.check("by the environment", s.metric("prefix_cache_hits_total") == 0)


def retries(t):
    """One place and no queue: the package tries again when it is told to, and nobody else suffers."""
    with Server(t, "--slots", 1, "--queue", 0) as s:
        client = openai.OpenAI(base_url=s.url + "/v1", api_key="x", max_retries=60)
        body = {"prompt": "a", "max_tokens": 200, "ignore_eos": True}
        with s.connect() as holder:
            holder.sendall(post("/v1/completions", body, "Connection: close\r\n"))
            t.check("one runs", s.await_metric("num_requests_running", lambda n: n == 1))
            full = s.raw(post("/v1/completions", {"prompt": "a"}, "Connection: close\r\n"))
            t.check("a full queue", full.startswith(b"HTTP/1.1 429") and b"Retry-After: " in full, full)
            answer = client.completions.create(model="m", prompt="b", max_tokens=2)
            t.check("the package comes again", answer.usage.completion_tokens == 2, answer)
            t.check("who was first has its answer", json.loads(everything(holder).split(b"\r\n\r\n")[1])
                    ["usage"]["completion_tokens"] == 200)


def curl(t):
    def run(*arguments):
        return subprocess.run(["curl", "-sS", "--max-time", "20", *map(str, arguments)], capture_output=True, text=True)

    keys = t.work / "keys"
    keys.write_text("secret\n")
    keys.chmod(0o600)
    for name, subject, days in (("good", "localhost", 3), ("other", "localhost", 3)):
        subprocess.run(["openssl", "req", "-x509", *NEW_KEY, "-nodes", "-keyout", t.work / f"{name}.key",
                        "-out", t.work / f"{name}.pem", "-days", str(days), "-subj", f"/CN={subject}",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    with Server(t, "--tls-cert", t.work / "good.pem", "--tls-key", t.work / "good.key", "--api-key-file", keys,
                "--host", "0.0.0.0") as s:
        url = f"https://localhost:{s.port}"
        trust = ["--cacert", t.work / "good.pem"]
        t.check("health needs no key", run(*trust, url + "/health").stdout == '{"status":"ok"}')
        reply = run(*trust, "-i", url + "/v1/models").stdout
        t.check("no key", "401" in reply.split("\n")[0] and "WWW-Authenticate" in reply, reply)
        key = ["-H", "Authorization: Bearer secret"]
        reply = run(*trust, *key, "-N", url + "/v1/chat/completions", "-d",
                    json.dumps({"messages": HELLO, "stream": True, "max_tokens": 5})).stdout
        t.check("a stream through TLS", reply.endswith("data: [DONE]\n\n"), reply)
        t.check("no old TLS", run(*trust, "--tls-max", "1.1", url + "/health").returncode != 0)
        large = t.work / "large.json" # curl asks before it sends this much
        large.write_text(json.dumps({"prompt": "word " * 300000}))
        reply = run(*trust, *key, "-H", "Expect: 100-continue", url + "/tokenize", "-d", f"@{large}").stdout
        t.check("a large body", json.loads(reply)["count"] > 300000, reply[:200])
        t.check("plain HTTP on the port of TLS", run(f"http://localhost:{s.port}/health").returncode != 0)


def the_same_bytes(t):
    """Requests alone, without guesses, then with them together in random order, among clients that go away, with too
    few pages."""
    count = thorough.often(60, 200)
    rng = random.Random(5)
    requests = []
    for i in range(count):
        prompt = " ".join(rng.choice(tiny.NOUNS + tiny.VERBS) for _ in range(rng.randrange(1, 60)))
        fields = {"max_tokens": rng.randrange(1, 25), "seed": i, "temperature": rng.choice([0, 0.7, 1.5]),
                  "top_p": rng.choice([1, 0.9]), "extra_body": {"top_k": rng.choice([0, 40]), "ignore_eos": i % 2 == 0}}
        requests.append((prompt, fields))

    def ask(s, i):
        prompt, fields = requests[i]
        return s.client.completions.create(model="m", prompt=prompt, **fields).choices[0].to_dict()

    with Server(t, "--slots", 8, "--speculate", 0) as s:
        alone = [ask(s, i) for i in range(count)]
    with Server(t, "--slots", 8, "--cache", "800kB", RETORT_SERVE_QUEUE="200") as s:
        order = list(range(count))
        rng.shuffle(order)

        def leave(i):
            with s.connect() as gone:
                gone.sendall(post("/v1/completions", {"prompt": requests[i][0], "max_tokens": 200, "stream": True,
                                                      "ignore_eos": True}))
                time.sleep(rng.random() / 5)

        leavers = [threading.Thread(target=leave, args=(i,)) for i in order[:15]]
        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            together = {i: pool.submit(ask, s, i) for i in order}
            for thread in leavers:
                thread.start()
            together = [together[i].result() for i in range(count)]
        for thread in leavers:
            thread.join()
        for i in range(count):
            t.check(f"request {i} alone and together", alone[i] == together[i], (alone[i], together[i]))
        t.check("pages ran out", s.metric("num_preemptions_total") > 0)
        t.check("those who left are gone", s.await_metric("num_requests_running", lambda n: n == 0))
        t.check("every page is free", s.metric("kv_cache_usage_perc") == 0)


def speculation(t):
    """An answer that repeats itself takes fewer steps and says the same."""
    fields = {"prompt": "The process", "max_tokens": 80, "temperature": 0.8, "seed": 3,
              "extra_body": {"structured_outputs": {"regex": "(open the file; ){12}"}}}
    texts, steps = [], []
    for most in (0, 8):
        with Server(t, RETORT_SERVE_SPECULATE=str(most)) as s:
            texts.append([s.client.completions.create(model="m", n=2, **fields).choices[k].text for k in range(2)])
            steps.append(s.metric("engine_steps_total"))
            t.check("time in steps and between", 0 < s.metric("engine_scheduler_seconds_total")
                    and 0 < s.metric("engine_step_seconds_total") < 60)
            guessed, right = (s.metric(f"spec_decode_num_{what}_tokens_total") for what in ("draft", "accepted"))
    t.check("the same with guesses", texts[0] == texts[1] and "open the file; " * 2 in texts[0][0], texts)
    # How many depends on what rows take, and so on the machine.
    t.check("guesses save steps", steps[1] < steps[0] and 0 < right <= guessed, (steps, guessed, right))


def clients_that_go(t):
    with Server(t, "--slots", 2) as s:
        long = {"prompt": "word " * 100, "max_tokens": 500, "ignore_eos": True}
        for count, (what, body) in enumerate((("prefill", long), ("decode", long | {"prompt": "a"}),
                                              ("a stream", long | {"prompt": "a", "stream": True})), 1):
            with s.connect() as gone:
                gone.sendall(post("/v1/completions", body))
                if what != "prefill":
                    t.check(f"{what} runs", s.await_metric("generation_tokens_total", lambda n: n > 3))
            t.check(f"gone in {what}", s.await_metric("num_cancelled_total", lambda n: n == count))
        reply = s.raw(post("/v1/completions", long | {"prompt": "a"}), half_close=True)
        t.check("a client that closes its side is gone", reply == b"", reply)
        t.check("and its answer", s.await_metric("num_cancelled_total", lambda n: n == 4))
        t.check("nothing is left", s.await_metric("kv_cache_usage_perc", lambda n: n == 0))
        port = s.port
        s.process.send_signal(signal.SIGKILL)
        s.process.wait()
        with Server(t, port=port) as again:
            t.check("restarted after kill -9", again.port == port and again.chat(max_tokens=1))
            busy = t.command("serve", t.bundle, "--port", port)
            t.check("a port in use", busy.returncode == 6 and busy.stderr.count("\n") == 1
                    and "another program listens" in busy.stderr, busy)


def draining(t):
    with Server(t, "--slots", 4) as s:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(s.chat, max_tokens=200, extra_body={"ignore_eos": True}) for _ in range(8)]
            t.check("four run", s.await_metric("num_requests_running", lambda n: n == 4))
            t.check("four wait", s.await_metric("num_requests_waiting", lambda n: n == 4))
            s.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
            health = s.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            t.check("not ready at once", health.startswith(b"HTTP/1.1 503"), health)
            late = s.raw(post("/v1/completions", {"prompt": "a"}))
            t.check("no new work", late.startswith(b"HTTP/1.1 503") and b"Retry-After" in late, late)
            t.check("no answer is lost", all(a.result().usage.completion_tokens == 200 for a in answers))
        t.check("exit code", s.process.wait(30) == 0, s.process.returncode)
    with Server(t, "--drain", 0) as s, s.connect() as c:
        c.sendall(post("/v1/completions", {"prompt": "a", "max_tokens": 900, "ignore_eos": True}))
        t.check("one runs", s.await_metric("num_requests_running", lambda n: n == 1))
        code = s.end()
        t.check("what is cut is told", code == 0 and everything(c).startswith(b"HTTP/1.1 503"), code)
    with Server(t) as s, s.connect() as c:
        c.sendall(post("/v1/completions", {"prompt": "a", "max_tokens": 900, "ignore_eos": True}))
        t.check("one runs", s.await_metric("num_requests_running", lambda n: n == 1))
        s.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        t.check("a second SIGTERM", s.end() == 130, s.process.returncode)


def operated(t):
    """By a service manager, and with options from a file."""
    path = t.work / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(20)
        with Server(t, NOTIFY_SOCKET=str(path)) as s:
            t.check("ready", manager.recv(1000) == f"READY=1\nSTATUS={s.url}".encode())
            t.check("ends", s.end() == 0)
            t.check("stopping", manager.recv(1000) == b"STOPPING=1")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
            abstract.bind("\0retort-test-" + str(os.getpid()))
            abstract.settimeout(20)
            with Server(t, NOTIFY_SOCKET="@retort-test-" + str(os.getpid())):
                t.check("by a name that is no file's", abstract.recv(1000).startswith(b"READY=1"))
        with Server(t, NOTIFY_SOCKET=str(t.work / "nobody")) as s:
            t.check("a manager that is gone", s.chat(max_tokens=1))
    config = t.work / "serve.toml"
    config.write_text('# comments\nname = "by-file"\nslots = 3\ninsecure = true\nhost = "0.0.0.0"\ncors-origin = ["http://a", "http://b"]\n')
    with Server(t, "--config", config) as s:
        t.check("a file", s.client.models.list().data[0].id == "by-file")
    with Server(t, "--config", config, "--name", "by-line", RETORT_SERVE_QUEUE="7") as s:
        t.check("the command line before it", s.client.models.list().data[0].id == "by-line")
    for text, words in (('slot = 3\n', "slot"), ('slots = "many"\n', "slots"), ("slots = \n= 3\n", "")):
        config.write_text(text)
        process = t.command("serve", t.bundle, "--config", config)
        t.check(f"refused: {text!r}", process.returncode == 2 and process.stderr.count("\n") == 1 and words in process.stderr, process)
    process = t.command("serve", t.bundle, "--config", t.work / "nothing.toml")
    t.check("no file", process.returncode != 0 and "nothing.toml" in process.stderr and process.stderr.count("\n") == 1, process)


def weights(t):
    """What is served is replaced in place."""
    bundle = t.work / "copied.retort"
    shutil.copy(t.bundle, bundle)
    first = t.bundle
    t.bundle = bundle
    with Server(t, "--weights", "copied", "--no-prefix-cache") as s:
        ask = lambda: s.client.completions.create(model="copied", prompt="a", max_tokens=8, temperature=0).choices[0].text
        before = ask()
        with open(bundle, "r+b") as f:
            f.write(b"\x55" * bundle.stat().st_size)
            f.truncate(100)
        t.check("a bundle that is overwritten", ask() == before)
    t.bundle = first


def several_models(t):
    """Two bundles, of which one is replaced while it answers, and then by one that is damaged."""
    first, second = t.work / "first.retort", t.work / "second.retort"
    for path in (first, second):
        shutil.copy(t.bundle, path)
    with Server(t, "--slots", 2, bundles=[first, f"b={second}"]) as s:
        t.check("both", [m.id for m in s.client.models.list()] == ["first", "b"])
        ask = lambda model, **more: s.client.completions.create(model=model, prompt="a", temperature=0, **more)
        texts = [ask(model, max_tokens=8).choices[0].text for model in ("first", "b")]
        t.check("the same weights", texts[0] == texts[1], texts)
        t.refused("another", openai.NotFoundError, lambda: ask("second"), "'first', 'b'")
        t.refused("none", openai.BadRequestError, lambda: s.client.post("/completions", cast_to=object, body={"prompt": "a"}), "several")

        def replace(data):
            new = t.work / "new"
            new.write_bytes(data)
            new.rename(second)
            s.process.send_signal(signal.SIGHUP)

        long = ask("b", max_tokens=600, stream=True, extra_body={"ignore_eos": True})
        next(long)
        replace(t.bundle.read_bytes())
        t.check("it is read again", s.await_metric("reloads_total", lambda n: n == 1))
        t.check("the old one goes on", s.await_metric("num_requests_running", lambda n: n >= 1))
        t.check("the new one answers", ask("b", max_tokens=8).choices[0].text == texts[1])
        t.check("to the end", sum(1 for _ in long) > 100)
        t.check("and then goes", s.await_metric("num_requests_running", lambda n: n == 0))
        replace(t.bundle.read_bytes()[:-5000])
        t.check("a damaged one is refused", s.await_metric("failed_reloads_total", lambda n: n == 1))
        t.check("and the other goes on", ask("b", max_tokens=8).choices[0].text == texts[1])
        s.process.send_signal(signal.SIGHUP)
        t.check("nothing new", s.end() == 0)
    lines = [json.loads(line) for line in (t.work / "log.jsonl").read_text().splitlines()]
    t.check("the log says so", [l["model"] for l in lines if l["event"] in ("reloaded", "reload failed")] == ["b", "b"], lines[-4:])
    for bundles, words in (([first, first], "both be called 'first'"), ([first, second, "--name", "x"], "--name names one"),
                           (["=x"], "NAME=FILE")):
        process = t.command("serve", *bundles)
        t.check(words, process.returncode == 2 and words in process.stderr and process.stderr.count("\n") == 1, process)


def framing(t):
    """Bytes in which two servers could see different requests end the connection with one reply."""
    get, body = b"GET /live HTTP/1.1\r\nHost: localhost\r\n", b'{"prompt": "a"}'
    smuggled = get + b"\r\n"
    tokenize = b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\n"
    bad = {
        "both lengths": tokenize + b"Content-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "two lengths": tokenize + b"Content-Length: 15\r\nContent-Length: 0\r\n\r\n" + body,
        "one length twice": tokenize + b"Content-Length: 15\r\nContent-Length: 15\r\n\r\n" + body,
        "a list of lengths": tokenize + b"Content-Length: 15, 15\r\n\r\n" + body,
        "gzip": tokenize + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "chunked twice": tokenize + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "no chunks": tokenize + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "a space before the colon": tokenize + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "no carriage return": b"GET /live HTTP/1.1\nHost: localhost\n\n",
        "plus": tokenize + b"Content-Length: +15\r\n\r\n" + body,
        "minus": tokenize + b"Content-Length: -1\r\n\r\n" + body,
        "hexadecimal": tokenize + b"Content-Length: 0xf\r\n\r\n" + body,
        "overflow": tokenize + b"Content-Length: 18446744073709551631\r\n\r\n" + body,
        "chunk of -2": tokenize + b"Transfer-Encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n",
        "chunk of 0x2": tokenize + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
        "a chunk's overflow": tokenize + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nab\r\n0\r\n\r\n",
        "a chunk that is longer": tokenize + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n",
        "no host": b"GET /live HTTP/1.1\r\n\r\n",
        "two hosts": get + b"Host: other\r\n\r\n",
        "no colon": get + b"Header\r\n\r\n",
        "NUL": get + b"A: b\0c\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "headers": get + b"A: " + b"a" * 30000 + b"\r\n\r\n",
        "many headers": get + b"a: b\r\n" * 6000 + b"\r\n",
        "a large body": tokenize + b"Content-Length: 3000000\r\n\r\n" + b"a" * 3000000,
        "many large chunks": tokenize + b"Transfer-Encoding: chunked\r\n\r\n"
                             + (b"10000\r\n" + b"a" * 65536 + b"\r\n") * 40 + b"0\r\n\r\n",
        "an upgrade": get + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    }
    with Server(t, "--read-time", 3) as s:
        for what, data in bad.items():
            reply = b""
            with s.connect() as c:
                try:
                    c.sendall(data + smuggled)
                except (ConnectionResetError, BrokenPipeError):
                    pass
                reply = everything(c)
            status = int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.1 ") else 0
            want = 413 if "large" in what else 431 if "headers" in what else 400
            t.check(what, status == want and reply.count(b"HTTP/1.1 ") == 1, reply[:300])
        for what, damaged in (("damaged JSON", b'{"prompt": '), ("no UTF-8", b'{"prompt": "\xff"}'), ("nothing", b""),
                              ("deep", b'{"prompt": ' + b"[" * 5000 + b"]" * 5000 + b"}")):
            reply = s.raw(post("/tokenize", damaged, "Connection: close\r\n"))
            t.check(what, reply.startswith(b"HTTP/1.1 400") and b"invalid_json" in reply, reply)
        three = s.raw(smuggled * 2 + get + b"Connection: close\r\n\r\n")
        t.check("pipelining", three.count(b"HTTP/1.1 200 OK") == 3, three)
        mixed = s.raw(post("/tokenize", body) + b"GET /no HTTP/1.1\r\nHost: localhost\r\n\r\n" + post("/tokenize", body)
                      + get + b"Connection: close\r\n\r\n")
        t.check("pipelining with bodies and refusals", [line.split()[1] for line in mixed.split(b"HTTP/")[1:]]
                == [b"200", b"404", b"200", b"200"], mixed)
        chunked = s.raw(tokenize + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                        b"5;a=b\r\n" + body[:5] + b"\r\na\r\n" + body[5:] + b"\r\n0\r\nTrailer: x\r\n\r\n")
        t.check("chunks", chunked.startswith(b"HTTP/1.1 200") and b'"count":1' in chunked, chunked)
        asked = s.raw(tokenize + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 15\r\n\r\n" + body)
        t.check("100 Continue", b" 200 OK" in asked, asked)
        head = s.raw(b"HEAD /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        t.check("HEAD", head.startswith(b"HTTP/1.1 200") and head.endswith(b"\r\n\r\n"), head)
        old = s.raw(b"POST /v1/completions HTTP/1.0\r\nHost: localhost\r\nContent-Length: 49\r\n\r\n"
                    b'{"prompt": "a", "stream": true, "max_tokens": 3 }')
        t.check("a stream of HTTP/1.0", old.endswith(b"data: [DONE]\n\n") and b"chunked" not in old, old)


def slow_clients(t):
    with Server(t, "--read-time", 1, "--write-time", 1, "--idle-time", 1, "--connections", 20) as s:
        with s.connect() as header, s.connect() as body, s.connect() as idle, s.connect() as reader:
            header.sendall(b"GET /live HTTP/1.1\r\nHost: lo")
            body.sendall(post("/tokenize", b"a" * 100)[:-50])
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.sendall(post("/tokenize", {"prompt": "word " * 380000}))
            t.check("a slow header", everything(header).startswith(b"HTTP/1.1 408"))
            t.check("a slow body", everything(body).startswith(b"HTTP/1.1 408"))
            t.check("an idle connection", everything(idle) == b"")
            t.check("a slow reader", s.await_metric("http_connections", lambda n: n <= 1))
        several = [s.connect() for _ in range(20)]
        t.check("one connection too many", everything(s.connect()).startswith(b"HTTP/1.1 503"))
        for c in several:
            c.close()
        t.check("there is room again", s.await_metric("http_connections", lambda n: n <= 1))


def refused_to_start(t):
    keys, good, other = t.work / "keys", t.work / "good", t.work / "other"
    open_keys = t.work / "open"
    open_keys.write_text("secret\n")
    open_keys.chmod(0o644)
    none = t.work / "no keys"
    none.write_text("# none yet\n")
    none.chmod(0o600)
    tls = ["--tls-cert", f"{good}.pem", "--tls-key"]
    old = subprocess.run(["openssl", "req", "-x509", *NEW_KEY, "-nodes", "-keyout", t.work / "old.key",
                          "-out", t.work / "old.pem", "-days", "-1", "-subj", "/CN=localhost"], capture_output=True)
    young = t.work / "young"
    young.mkdir()
    (young / "index").touch()
    (young / "serial").write_text("01\n")
    (young / "ca.cnf").write_text(f"[ca]\ndefault_ca=c\n[c]\ndatabase={young}/index\nserial={young}/serial\nnew_certs_dir={young}\n"
                                  "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
    subprocess.run(["openssl", "req", "-new", "-key", f"{good}.key", "-out", young / "request", "-subj", "/CN=localhost"],
                   check=True, capture_output=True)
    subprocess.run(["openssl", "ca", "-batch", "-config", young / "ca.cnf", "-selfsign", "-keyfile", f"{good}.key", "-notext", "-in",
                    young / "request", "-out", young / "pem", "-startdate", "20900101000000Z", "-enddate", "20910101000000Z"],
                   check=True, capture_output=True)
    cases = [
        (3, "not yet", ["--tls-cert", young / "pem", "--tls-key", f"{good}.key"], "the certificate is not valid yet"),
        (2, "gives no key", ["--host", "0.0.0.0"], "--api-key-file, or --insecure"),
        (2, "keys that all may read", ["--api-key-file", open_keys], "every user of this machine"),
        (6, "no keys", ["--api-key-file", t.work / "none"], "none: cannot be read"),
        (2, "half a pair", ["--tls-cert", f"{good}.pem"], "--tls-cert and --tls-key go together"),
        (3, "no pair", [*tls, f"{other}.key"], "other.key: "),
        (3, "no key", [*tls, keys], "keys: is no private key"),
        (3, "no certificate", ["--tls-cert", keys, "--tls-key", f"{good}.key"], "keys: is no certificate in PEM"),
        (3, "an empty list of keys", ["--api-key-file", none], "holds no key: write one a line"),
        (2, "no address", ["--host", "example.test", "--insecure"], "is no address: write for example"),
        (2, "slots", ["--slots", "1000"], "a step of this model holds"),
        (2, "a number", ["--queue", "-1"], "--queue"),
        (2, "guesses", ["--speculate", "65"], "--speculate"),
        (2, "an option", ["--quque", "1"], "see `retort serve --help`"),
    ]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most <= 1 << 20:
        cases.append((5, "files", ["--connections", str(most)], "open files, and the limit is"))
    if old.returncode == 0:
        cases.append((3, "out of date", ["--tls-cert", t.work / "old.pem", "--tls-key", t.work / "old.key"], "the certificate has expired"))
    for code, what, options, words in cases:
        process = t.command("serve", t.bundle, "--port", "0", *options)
        t.check(what, process.returncode == code and words in process.stderr and process.stderr.count("\n") == 1,
                process)
    process = t.command("serve", t.work / "none.retort")
    t.check("no bundle", process.returncode == 6 and process.stderr.count("\n") <= 1, process)
    process = t.command("serve", t.bundle, RETORT_SERVE_PORT="70000")
    t.check("a variable", process.returncode == 2 and "70000" in process.stderr, process)
    alone = t.work / "bin" / "retort"
    alone.parent.mkdir()
    shutil.copy(t.retort, alone)
    process = subprocess.run([alone, "serve", t.bundle], capture_output=True, text=True, timeout=60,
                             env=dict(os.environ, LD_LIBRARY_PATH=str(pathlib.Path(t.retort).parent.parent / "lib")))
    t.check("no server", process.returncode == 6 and "retort-serve: cannot be run: " in process.stderr
            and "install the server beside retort" in process.stderr, process)


def the_log(t):
    with Server(t) as s:
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        reply = s.raw(post("/v1/chat/completions", {"messages": [{"role": "user", "content": "hidden words"}],
                                                    "max_tokens": 2},
                           f"traceparent: 00-{trace}-00f067aa0ba902b7-01\r\nConnection: close\r\n"))
        identity = next(line.split()[1] for line in reply.decode().splitlines() if line.startswith("X-Request-Id"))
        s.end()
    text = (t.work / "log.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    mine = [line for line in lines if line.get("id") == identity]
    t.check("a line a request", len(mine) == 1 and mine[0]["trace"] == trace and mine[0]["status"] == 200
            and mine[0]["completion_tokens"] == 2, mine)
    t.check("no prompt in the log", "hidden" not in text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="retort-serve-") as work:
        test = Test(sys.argv[1], pathlib.Path(work))
        for part in (openai_package, responses, log_probabilities, prefixes, retries, curl, the_same_bytes, speculation, clients_that_go, draining, operated, weights, several_models, framing, slow_clients,
                     refused_to_start, the_log):
            start = time.time()
            part(test)
            print(f"{part.__name__}: {time.time() - start:.1f} s", flush=True)
        print(f"{test.failures} failures")
        sys.exit(test.failures != 0)
