#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Opens a page of `firstbit diff --html` in headless Chromium and holds it to what a reader needs:
drawn wide and narrow, light and dark, in other colours in the dark; nothing wider than the window;
no request to any network, no line on the console; all that can be used is reached by the Tab key,
in the order of the page, and opened by the keyboard. Exit status 77 where there is no Chromium.

The pages are those of a flipped bit, of an extra random draw, and of equal runs.

usage: check_page_in_chromium.py FIRSTBIT ROOT      ROOT: the folder in which examples/ is
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

WIDTHS = (1280, 400)
SCHEMES = ("light", "dark")
TABS_MAX = 60
SECONDS = 60

# What Tab stops at: its text, and whether the keyboard's place can be seen there.
FOCUSED = """(() => {
  const e = document.activeElement, s = getComputedStyle(e);
  const seen = e.firstbitSeen === true;
  e.firstbitSeen = true;
  return {tag: seen ? 'BODY' : e.tagName, text: (e.getAttribute('aria-label') || e.innerText || '').slice(0, 40),
          visible: s.outlineStyle !== 'none' || s.left === '12px',
          place: e.getBoundingClientRect().top + scrollY};
})()"""
WIDE = """[...document.querySelectorAll('body *')].filter(
  e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll') && !e.closest('svg'))
  .map(e => e.tagName + '.' + e.className)"""


class Browser:
    """Chromium, spoken to in its own protocol over two pipes: JSON, each message ended by a zero."""

    def __init__(self, program, profile):
        read_theirs, self._write = os.pipe()
        self._read, write_theirs = os.pipe()

        def ends():
            # The ends that it expects as 3 and 4; by way of numbers that are neither.
            a, b = os.dup(read_theirs), os.dup(write_theirs)
            high_a, high_b = os.dup2(a, 100), os.dup2(b, 101)
            os.dup2(high_a, 3)
            os.dup2(high_b, 4)

        self._process = subprocess.Popen(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-background-networking", "--user-data-dir=" + profile, "--remote-debugging-pipe",
             "about:blank"],
            preexec_fn=ends, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(read_theirs)
        os.close(write_theirs)
        self._timer = threading.Timer(SECONDS, self._process.kill)
        self._timer.start()
        self._rest, self._number, self.events = b"", 0, []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self._session = None
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]

    def _message(self):
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            if not more:
                raise RuntimeError("Chromium ended")
            self._rest += more
        line, self._rest = self._rest.split(b"\0", 1)
        return json.loads(line)

    def call(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, address):
        """Loads a page; the keyboard is at its top then."""
        before = len(self.events)
        self.call("Page.navigate", url=address)
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events[before:]):
            self.events.append(self._message())

    def evaluate(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def key(self, name, code, text=""):
        self.call("Input.dispatchKeyEvent", type="keyDown", key=name, code=name, text=text,
                  windowsVirtualKeyCode=code)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name, code=name, windowsVirtualKeyCode=code)

    def close(self):
        self._timer.cancel()
        self._process.kill()
        self._process.wait()


def look(browser, width, scheme):
    """A screenshot, and what is wrong with it."""
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    wide = browser.evaluate(WIDE)
    picture = base64.b64decode(browser.call("Page.captureScreenshot", format="png")["data"])
    wrong = [f"{width} {scheme}: wider than the window: {name}" for name in wide[:5]]
    if browser.evaluate("document.documentElement.scrollWidth") > width:
        wrong.append(f"{width} {scheme}: the page scrolls sideways")
    if len(picture) < 4000:
        wrong.append(f"{width} {scheme}: nothing is drawn")
    return picture, wrong


def by_keyboard(browser):
    """Tab from the top to the end; Enter opens what can be opened."""
    wrong, stops = [], []
    for _ in range(TABS_MAX):
        browser.key("Tab", 9)
        at = browser.evaluate(FOCUSED)
        if at["tag"] == "BODY":
            break
        stops.append(at)
        if not at["visible"]:
            wrong.append(f"the keyboard's place cannot be seen at {at['tag']} {at['text']!r}")
        if at["tag"] == "SUMMARY":
            before = browser.evaluate("document.activeElement.parentElement.open")
            browser.key("Enter", 13, "\r")
            if browser.evaluate("document.activeElement.parentElement.open") == before:
                wrong.append(f"Enter does not open {at['text']!r}")
            browser.key("Enter", 13, "\r")
    places = [stop["place"] for stop in stops[1:]]
    columns = browser.evaluate("innerWidth") > 860
    if not columns and places != sorted(places):
        wrong.append("Tab does not follow the order of the page")
    wanted = browser.evaluate("document.querySelectorAll('a[href], summary, [tabindex]').length")
    # What lies in a closed detail cannot be reached, and need not be.
    hidden = browser.evaluate("[...document.querySelectorAll('details:not([open]) [tabindex]')].length")
    if len(stops) != wanted - hidden:
        wrong.append(f"Tab reaches {len(stops)} of {wanted - hidden} places")
    if not stops or "Skip" not in stops[0]["text"]:
        wrong.append("the first stop is not the link that skips the head")
    return wrong


def check(browser, address):
    wrong, pictures = [], {}
    browser.events.clear()
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.call(domain + ".enable")
    browser.open(address)
    text = browser.evaluate("document.body.innerText")
    if "What was compared" not in text or not browser.evaluate("document.querySelectorAll('h1').length"):
        wrong.append("the page is not there as a whole")
    for width in WIDTHS:
        browser.open(address)
        for scheme in SCHEMES:
            pictures[width, scheme], more = look(browser, width, scheme)
            wrong += more
        if pictures[width, "light"] == pictures[width, "dark"]:
            wrong.append(f"{width}: light and dark are the same")
        wrong += by_keyboard(browser)
    time.sleep(0.1)
    browser.evaluate("0")  # what was still under way has come by now
    for event in browser.events:
        method, what = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent" and what["request"]["url"] != address:
            wrong.append(f"a request: {what['request']['url'][:100]}")
        if method in ("Runtime.consoleAPICalled", "Log.entryAdded", "Runtime.exceptionThrown"):
            wrong.append(f"on the console: {json.dumps(what)[:200]}")
    return wrong


def make_pages(firstbit, root, folder):
    """The pages of three comparisons: (name, path)."""
    def trace(name, *more):
        path = os.path.join(folder, name)
        subprocess.run([firstbit, "train", "examples/gpt.json", "-o", path, "--steps", "4", *more], cwd=root,
                       stdout=subprocess.DEVNULL, check=True)
        return path

    plain = trace("a.fbt")
    others = {"flip": trace("b.fbt", "--inject", "flip:step=3,path=h.1.mlp.fc,slot=out,element=5,bit=20"),
              "draw": trace("c.fbt", "--inject", "draw:step=2,stream=h.0.attn.dropout"),
              "same": plain}
    for name, other in others.items():
        page = os.path.join(folder, name + ".html")
        done = subprocess.run([firstbit, "diff", plain, other, "--html", page], cwd=root, stdout=subprocess.DEVNULL,
                              check=False)
        assert done.returncode == (name != "same"), (name, done)
        yield name, page


def main():
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("no Chromium here")
        return 77
    wrong = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(chromium, os.path.join(folder, "profile"))
        try:
            for name, page in make_pages(sys.argv[1], sys.argv[2], folder):
                wrong += [f"{name}: {line}" for line in check(browser, "file://" + page)]
        finally:
            browser.close()
    print("\n".join(wrong) or "as it should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
