#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A real browser, told what to do by lines on standard input: chromium over its DevTools pipe.

    goto URL            and waits until it is loaded
    eval EXPRESSION     its value
    wait EXPRESSION     until it is true; 20 seconds at most
    key NAME            a key is pressed: Tab, Enter
    theme light|dark    what the user prefers
    shot FILE           a picture of the page
    requests            every address that was asked for, in order
    complaints          errors of the console, the page's scripts, its policy

Each is answered by a line of JSON; what failed by one that begins with "error".
"""
import base64
import json
import os
import select
import subprocess
import sys
import time

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-default-apps", "--no-proxy-server", "--remote-debugging-pipe", "--window-size=1280,1000",
         "--force-prefers-reduced-motion", "about:blank"]
PATIENCE_S = 20


class Browser:
    def __init__(self, profile):
        to_read, self.out = os.pipe()
        self.inp, to_write = os.pipe()

        # It reads from descriptor 3 and writes to 4.
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash",
             os.environ.get("CHROMIUM", "chromium"), f"--user-data-dir={profile}", *FLAGS],
            pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.id, self.buffer, self.requests, self.complaints = 0, b"", [], []
        self.session = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def receive(self, until):
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.inp], [], [], max(0, until - time.monotonic()))
            data = os.read(self.inp, 1 << 20) if ready else b""
            if not data:
                raise RuntimeError("the browser does not answer" if not ready else "the browser has ended")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def notice(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(params["args"]))
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append("dialog: " + params["message"])

    def ask(self, method, **params):
        self.id += 1
        message = {"id": self.id, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE_S
        while True:
            answer = self.receive(until)
            self.notice(answer)
            if answer.get("id") == self.id:
                if "error" in answer:
                    raise RuntimeError(answer["error"]["message"])
                return answer["result"]

    # A navigation is cut off when the machine's network has just changed; and what is loaded may be the page of
    # before.
    def goto(self, url):
        until = time.monotonic() + PATIENCE_S
        while True:
            failure = self.ask("Page.navigate", url=url).get("errorText")
            if not failure:
                return self.wait(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")
            if time.monotonic() > until:
                raise RuntimeError(failure)
            time.sleep(0.1)

    def eval(self, expression):
        r = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in r:
            words = r["exceptionDetails"].get("exception", {}).get("description", "exception")
            raise RuntimeError(words.split("\n")[0])
        return r["result"].get("value")

    def wait(self, expression):
        until = time.monotonic() + PATIENCE_S
        while not self.eval(expression):
            if time.monotonic() > until:
                raise RuntimeError("it does not become true")
            self.eval("new Promise((done) => setTimeout(done, 50))")
        return True

    def key(self, name):
        code = {"Tab": 9, "Enter": 13}[name]
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def theme(self, name):
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def shot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]))


def main():
    browser = Browser(sys.argv[1])
    print('"ready"', flush=True)
    for line in sys.stdin:
        word, _, rest = line.rstrip("\n").partition(" ")
        try:
            what = getattr(browser, word)
            print(json.dumps(what if isinstance(what, list) else what(rest)), flush=True)
        except RuntimeError as e:
            print(f"error {e}", flush=True)
    browser.process.terminate()
    browser.process.wait()


main()
