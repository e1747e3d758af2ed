#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The page that `retort serve` has at /, in a headless browser: it is typed at, its streams are read, and it is
looked at in two widths and both colour schemes. The browser is driven by Chromium's DevTools protocol over a pipe.

    test_page.py RETORT [FOLDER FOR SCREENSHOTS]
"""
import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from test_serve import Server, Test

BROWSER = "chromium-headless-shell"


class Browser:
    def __init__(self, work):
        to_browser, own_to = os.pipe()
        own_from, from_browser = os.pipe()

        def descriptors():
            os.dup2(to_browser, 13), os.dup2(from_browser, 14)  # not over each other
            os.dup2(13, 3), os.dup2(14, 4)

        self.process = subprocess.Popen(
            [BROWSER, "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
             f"--user-data-dir={work / 'profile'}", "about:blank"], preexec_fn=descriptors, close_fds=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser), os.close(from_browser)
        self.out, self.into, self.count, self.session = own_to, os.fdopen(own_from, "rb"), 0, None
        self.events, self.rest = [], b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def call(self, method, **parameters):
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                piece = self.into.read1(1 << 20)
                assert piece, "the browser has ended"
                self.rest += piece
            one, self.rest = self.rest.split(b"\0", 1)
            reply = json.loads(one)
            if reply.get("id") == self.count:
                assert "error" not in reply, (method, reply)
                return reply["result"]
            self.events.append(reply)

    def js(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression, seconds=30):
        end = time.time() + seconds
        while time.time() < end:
            if self.js(expression):
                return True
            time.sleep(0.05)
        return False

    def key(self, name, code, text="", modifiers=0):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code,
                      modifiers=modifiers, **({"text": text} if kind == "keyDown" and text else {}))

    def type(self, text):
        self.call("Input.insertText", text=text)

    def open(self, url, width=1000, height=800, scheme="light"):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=url)
        assert self.until("document.readyState === 'complete' && !!document.getElementById('name')?.textContent"), url

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def faults(self):
        """What the console complains of."""
        self.js("1")
        return [e for e in self.events if e.get("method") == "Runtime.exceptionThrown"
                or e.get("method") == "Log.entryAdded" and e["params"]["entry"]["level"] == "error"]

    def end(self):
        self.process.kill()
        self.process.wait()


LAST = "[...document.querySelectorAll('.message.assistant .body')].at(-1)?.textContent"
STATUS = "document.getElementById('status').textContent"


def conversation(t, b, s, shots):
    b.open(s.url + "/")
    t.check("the name", b.js("document.title") == "m", b.js("document.title"))
    t.check("the text has the focus", b.js("document.activeElement.id") == "text")
    b.screenshot(shots / "empty-1000.png")
    # By the keyboard alone: settings, a question, another one.
    b.js("for (const [id, v] of [['temperature', 0], ['max_tokens', 12]]) document.getElementById(id).value = v")
    b.type("hello")
    b.key("Enter", 13, "\r")
    t.check("an answer", b.until(STATUS + ".startsWith('Done: ')"), b.js(STATUS))
    truth = s.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}], temperature=0,
                                             max_tokens=12, top_p=0.95, extra_body={"top_k": 40})
    first = truth.choices[0].message.content
    t.check("the server's answer", b.js(LAST) == first, (b.js(LAST), first))
    t.check("tokens a second", "tokens/s" in b.js(STATUS) and "12 tokens" in b.js(STATUS), b.js(STATUS))
    b.type("and then")
    b.key("Enter", 13, "\r", modifiers=8)  # Shift: a line
    t.check("Shift+Enter makes a line", b.js("document.getElementById('text').value").endswith("\n"))
    b.key("Enter", 13, "\r")
    b.until("document.querySelectorAll('.message.assistant').length === 2")
    t.check("a second answer", b.until(STATUS + ".startsWith('Done: ')"), b.js(STATUS))
    talk = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": first},
            {"role": "user", "content": "and then\n"}]
    truth = s.client.chat.completions.create(model="m", messages=talk, temperature=0, max_tokens=12, top_p=0.95,
                                             extra_body={"top_k": 40})
    t.check("the conversation goes on", b.js(LAST) == truth.choices[0].message.content, b.js(LAST))
    t.check("it is text, never markup", b.js("document.querySelectorAll('.body *').length") == 0)
    b.screenshot(shots / "talk-1000.png")
    t.check("no complaints", not b.faults(), b.faults())


def stopping(t, b, s):
    b.js("document.getElementById('max_tokens').value = 900")
    for how in ("button", "Escape"):
        before = s.metric("num_cancelled_total")
        b.type("more")
        b.key("Enter", 13, "\r")
        t.check("it runs", b.until("!document.getElementById('stop').hidden") and s.await_metric("num_requests_running", lambda n: n == 1))
        if how == "button":
            b.js("document.getElementById('stop').click()")
        else:
            b.key("Escape", 27)
        t.check(f"stopped by {how}", b.until(STATUS + ".startsWith('Stopped')"), b.js(STATUS))
        t.check("the server knows", s.await_metric("num_cancelled_total", lambda n: n == before + 1))
    b.js("document.getElementById('anew').click()")
    t.check("a new conversation", b.js("document.querySelectorAll('.message').length") == 0)


def errors(t, b, s):
    b.js("document.getElementById('max_tokens').value = 5000")
    b.type("too much")
    b.key("Enter", 13, "\r")
    t.check("an error is shown", b.until("!!document.querySelector('.message.error')"))
    t.check("in the server's words", "context of 1024" in b.js("document.querySelector('.message.error').textContent"))
    b.js("document.getElementById('max_tokens').value = 12")


def looks(t, b, s, shots):
    for width in (1000, 360):
        for scheme in ("light", "dark"):
            b.open(s.url + "/", width, 800, scheme)
            b.js("document.querySelector('details').open = true; document.getElementById('max_tokens').value = 12;")
            b.type("a-word-that-is-longer-than-any-narrow-screen-" * 4)
            b.key("Enter", 13, "\r")
            b.until(STATUS + ".startsWith('Done: ')")
            b.screenshot(shots / f"settings-{width}-{scheme}.png")
            t.check(f"nothing sticks out at {width}", b.js("document.documentElement.scrollWidth") <= width
                    and b.js("document.querySelector('main').scrollWidth <= document.querySelector('main').clientWidth"))
            low = b.js("""(() => {
              const light = c => { const [r, g, b] = c.match(/\\d+/g).map(x => x / 255).map(x =>
                x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
              const behind = e => { while (e && /, 0\\)$/.test(getComputedStyle(e).backgroundColor)) e = e.parentElement;
                return getComputedStyle(e || document.body).backgroundColor; };
              return [...document.querySelectorAll('h1, a, button, label, summary, .who, .body, #status, input, textarea')].filter(e =>
                e.offsetParent).map(e => { const a = light(getComputedStyle(e).color), b = light(behind(e));
                return [e.tagName, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]; }).filter(x => x[1] < 4.5); })()""")
            t.check(f"contrast of 4.5 in {scheme}", low == [], low)
            names = b.js("[...document.querySelectorAll('input, textarea, button, a')].filter(e => e.offsetParent && "
                         "!(e.labels?.length || e.ariaLabel || e.textContent.trim())).map(e => e.id)")
            t.check("each control has a name", names == [], names)


def keys(t, b):
    file = t.work / "page-keys"
    file.write_text("secret\n")
    file.chmod(0o600)
    with Server(t, "--api-key-file", file) as s:
        b.open(s.url + "/")
        t.check("no link that needs a key", b.js("document.getElementById('report').hidden"))
        b.js("document.getElementById('max_tokens').value = 4")
        b.type("hello")
        b.key("Enter", 13, "\r")
        t.check("a key is asked for", b.until("document.querySelector('.message.error')?.textContent.includes('API key')"))
        b.js("document.getElementById('key').value = 'secret'")
        b.js("document.getElementById('text').focus()")
        b.type("hello")
        b.key("Enter", 13, "\r")
        t.check("with the key", b.until(STATUS + ".startsWith('Done: ')"), b.js(STATUS))


def report(t, b, s, shots):
    b.call("Page.navigate", url=s.url + "/report")
    t.check("the report", b.until("document.readyState === 'complete' && document.title.length > 0"), b.js("document.title"))
    t.check("with its style", b.until("getComputedStyle(document.body).fontFamily !== 'Times New Roman'"))
    b.screenshot(shots / "report.png")


def main():
    with tempfile.TemporaryDirectory(prefix="retort-page-") as work:
        t = Test(sys.argv[1], pathlib.Path(work))
        shots = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else work)
        shots.mkdir(exist_ok=True)
        b = Browser(t.work)
        try:
            with Server(t) as s:
                conversation(t, b, s, shots)
                stopping(t, b, s)
                errors(t, b, s)
                looks(t, b, s, shots)
                report(t, b, s, shots)
            keys(t, b)
        finally:
            b.end()
        print(f"{t.failures} failures")
        sys.exit(t.failures != 0)


if __name__ == "__main__":
    main()
