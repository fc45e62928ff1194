"""A headless chromium driven over a pipe with the standard library, where there is one."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")

PATIENCE_SECONDS = 120


class Browser:
    """One page. messages: what it wrote to its console, and its errors."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._number, self._rest, self._session = 0, b"", ""
        self.messages: list[str] = []

    def open(self, path: Path, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        """Open a file and wait until it has answered for the first time."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.resize(width, height, dark)
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.wait_for("document.readyState === 'complete' && !!document.querySelector('.row.best')")

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        """Set the size of the window in points, and the color scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def ask(self, script: str) -> Any:
        """Return the value of an expression in the page, which may be a promise."""
        done = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def settled(self) -> None:
        """Wait until the page has answered to what was done."""
        self.ask("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.ask(condition):
            assert time.monotonic() < end, f"in vain: {condition}"
            time.sleep(0.05)

    def drag(self, *points: tuple[float, float]) -> None:
        """Press the mouse at the first point, move it over the others, and let go."""
        for number, (x, y) in enumerate(points):
            kind = "mouseMoved" if number else "mousePressed"
            self._mouse(kind, x, y, buttons=1)
        self._mouse("mouseReleased", *points[-1], buttons=0)
        self.settled()

    def press_at(self, x: float, y: float) -> None:
        """Press the mouse and keep it pressed."""
        self._mouse("mousePressed", x, y, buttons=1)
        self.settled()

    def release_at(self, x: float, y: float) -> None:
        """Let go of the mouse."""
        self._mouse("mouseReleased", x, y, buttons=0)
        self.settled()

    def _mouse(self, kind: str, x: float, y: float, buttons: int) -> None:
        self.send(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button="left",
            buttons=buttons,
            clickCount=1,
        )

    def key(self, name: str, shift: bool = False) -> None:
        """Press and release a key."""
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        text = {"text": "\r"} if name == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name,
                windowsVirtualKeyCode=codes.get(name, 13), modifiers=8 if shift else 0,
                **(text if kind == "keyDown" else {}),
            )  # fmt: skip
        self.settled()

    def box(self, selector: str) -> dict[str, float]:
        """Return x, y, width and height of an element in the window."""
        return dict(
            self.ask(f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
        )

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Write a PNG of the window, or of the whole page."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._answers, 1 << 20)
            assert piece, "the browser is gone"
            self._rest += piece
        whole, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(whole))

    def _note(self, event: dict[str, Any]) -> None:
        told = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        if event.get("method") in told:
            self.messages.append(json.dumps(event["params"]))


@contextlib.contextmanager
def started(profile: Path) -> Iterator[Browser]:
    """Start a browser with a profile of its own, and end it."""
    ours_in, theirs_out = os.pipe()
    theirs_in, ours_out = os.pipe()

    def connect() -> None:
        # the numbers that --remote-debugging-pipe reads from and writes to
        copies = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(copies[0], 3)
        os.dup2(copies[1], 4)

    assert CHROMIUM is not None
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    words += ["--no-first-run", "--hide-scrollbars", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        [CHROMIUM, *words],
        preexec_fn=connect,
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)
