#!/usr/bin/env python3
"""Uses the site as a user does: browser.py SITE USER PASSWORD VIDEO OUT

Headless Chromium, told over its debugging pipe what to do with keys and mouse: opens the uploads' page, logs in through
the form it is sent to, uploads VIDEO and waits until it is shown as ready and its video plays. Screenshots go to OUT.
Prints the medium's id and the session's cookie. Whatever the page logs as an error is a failure.
"""
import base64
import json
import os
import subprocess
import sys
import tempfile
import time

SECONDS = 120
# Chromium reads commands from descriptor 3 and answers on 4, each message ended by a zero byte.
CHROMIUM = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1000,800",
    "--autoplay-policy=no-user-gesture-required", "--remote-debugging-pipe",
)


class Browser:
    def __init__(self, profile, log, site):
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        start = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(
            [
                "bash", "-c", start, "chromium", *CHROMIUM, f"--user-data-dir={profile}",
                # Pages by themselves (COOP, COEP) as over TLS; without it, every page is logged as an error.
                f"--unsafely-treat-insecure-origin-as-secure={site}", "about:blank",
            ],
            pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.out, self.inp = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb", 0)
        self.rest, self.number, self.events, self.session = b"", 0, [], None
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in pages if one["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")
        self.call("Page.setInterceptFileChooserDialog", enabled=True)

    def _message(self):
        while b"\0" not in self.rest:
            more = self.inp.read(1 << 16)
            if not more:
                sys.exit("the browser has gone")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.out.write(json.dumps(message).encode() + b"\0")
        while (answer := self._message()).get("id") != self.number:
            self._seen(answer)
        if "error" in answer:
            sys.exit(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _seen(self, event):
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            sys.exit(f"the page failed: {json.dumps(params['exceptionDetails'])[:800]}")
        if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            sys.exit(f"the page logs: {params['entry']['text']} ({params['entry'].get('url')})")
        self.events.append(event)

    def event(self, method):
        """The next event of that name, already seen or yet to come."""
        while not (found := [one for one in self.events if one.get("method") == method]):
            self._seen(self._message())
        self.events.remove(found[0])
        return found[0]["params"]

    def value(self, script):
        """What a script gives, promises waited for."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            sys.exit(f"{script}: {json.dumps(found['exceptionDetails'])[:800]}")
        return found["result"].get("value")

    def until(self, script, what):
        """Asks again and again, until it is so."""
        end = time.monotonic() + SECONDS
        while not (value := self.value(script)):
            if time.monotonic() > end:
                self.picture("browser-failure.png")
                sys.exit(f"{what} never: the page says {self.value('document.body.innerText')[:500]!r}")
            time.sleep(0.2)
        return value

    def goes(self, url):
        self.call("Page.navigate", url=url)
        self.ready()

    def ready(self):
        self.until("document.readyState === 'complete' && document.documentElement.dataset.ready === 'yes'", "loaded")

    def click(self, selector):
        """Presses the mouse in the middle of what the selector finds."""
        box = self.until(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); if (!e) return null; e.scrollIntoView();"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()",
            f"a {selector}",
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def types(self, selector, text):
        self.click(selector)
        self.call("Input.insertText", text=text)

    def picture(self, name):
        data = self.call("Page.captureScreenshot")["data"]
        with open(os.path.join(OUT, name), "wb") as file:
            file.write(base64.b64decode(data))


def log_in(browser, site, user, password):
    browser.goes(f"{site}/uploads/")
    browser.until("location.pathname === '/accounts/login/'", "sent to the log-in")
    browser.types("#id_username", user)
    browser.types("#id_password", password)
    browser.picture("site-login.png")
    browser.click("#login button")
    browser.until("location.pathname === '/uploads/'", "let in")
    browser.ready()
    if browser.value("document.querySelector('#user').textContent") != user:
        sys.exit("the page does not know who logged in")


def upload(browser, video):
    """Chooses the file in the page's own input; the medium's id, once it is ready and its video has a picture."""
    before = browser.value("document.querySelectorAll('.uploads li').length")
    browser.click("#file")
    chooser = browser.event("Page.fileChooserOpened")
    browser.call("DOM.setFileInputFiles", files=[os.path.abspath(video)], backendNodeId=chooser["backendNodeId"])
    browser.click("#upload button")
    browser.until(f"document.querySelectorAll('.uploads li').length > {before}", "listed")
    last = "document.querySelector('.uploads li:last-child')"
    browser.picture("site-upload.png")
    state = browser.until(f"({last}.dataset.status || 'waiting') !== 'waiting' && {last}.dataset.status", "transcoded")
    if state != "ready":
        sys.exit(f"the transcode ended as {state}")
    browser.until(f"{last}.querySelector('video').readyState >= 2", "the video has a picture")
    browser.value(f"{last}.querySelector('video').play()")
    browser.until(f"{last}.querySelector('video').currentTime > 0.1", "the video plays")
    browser.picture("site-ready.png")
    return browser.value(f"{last}.dataset.id")


def main(site, user, password, video):
    with tempfile.TemporaryDirectory() as profile, open(os.path.join(OUT, "browser.log"), "wb") as log:
        browser = Browser(profile, log, site)
        try:
            log_in(browser, site, user, password)
            media = upload(browser, video)
            browser.goes(f"{site}/projects")
            browser.until("!!document.querySelector('#projects li')", "a list of projects")
            browser.picture("site-projects.png")
            cookies = browser.call("Network.getCookies", urls=[site])["cookies"]
            print(media, next(f"sessionid={one['value']}" for one in cookies if one["name"] == "sessionid"))
        finally:
            browser.process.terminate()
            browser.process.wait()


OUT = sys.argv[5]
main(*sys.argv[1:5])
