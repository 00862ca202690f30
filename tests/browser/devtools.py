"""A headless Chromium, driven through the two pipes it offers for that: no port, no driver, no package."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--force-device-scale-factor=1",
)  # fmt: skip
_SHIM = """\
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for number, end in enumerate(ends, 3):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Puts two pipes where the browser looks for them, descriptors 3 (it reads) and 4 (it writes), and becomes it."""

PATIENCE_S = 60
"""How long to wait for anything before giving up: far longer than a busy computer needs."""


def find() -> str | None:
    """The browser to use: ``$ACCELSIM_BROWSER`` or the first of :data:`NAMES` on the path."""
    return os.environ.get("ACCELSIM_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of one browser. ``events`` are all notices so far: (method, parameters)."""

    def __init__(self, program: str) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._profile = tempfile.TemporaryDirectory(prefix="accelsim-browser-", ignore_cleanup_errors=True)
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        flags = [*_FLAGS, f"--user-data-dir={self._profile.name}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SHIM, str(theirs_in), str(theirs_out), program, *flags, "about:blank"],
            pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._out, self._in = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb")
        os.set_blocking(self._in.fileno(), False)
        self._buffer, self._number, self._session = b"", 0, ""
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        page = next(t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result. Raises RuntimeError with the browser's words when it refuses."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        answer = self._wait(lambda got: got if got.get("id") == self._number else None)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _wait(self, wanted: Callable[[dict[str, Any]], dict[str, Any] | None]) -> dict[str, Any]:
        """Read messages up to the one that is wanted; the others are kept as events."""
        stop = time.monotonic() + PATIENCE_S
        while time.monotonic() < stop:
            head, end, rest = self._buffer.partition(b"\0")
            if not end:
                piece = self._in.read(1 << 20)
                if piece == b"":
                    raise RuntimeError(f"the browser went away, exit code {self._process.wait()}")
                self._buffer += piece or b""
                if not piece:
                    time.sleep(0.01)
                continue
            self._buffer = rest
            message = json.loads(head)
            if "method" in message:
                self.events.append((message["method"], message.get("params", {})))
            if (found := wanted(message)) is not None:
                return found
        raise RuntimeError("the browser does not answer")

    def open(self, path: Path, width: int = 1280, height: int = 800) -> None:
        """Show a file, once it is loaded with everything it asked for."""
        self.events.clear()
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.until("document.readyState === 'complete'")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are waited for. Raises RuntimeError for an exception."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def until(self, expression: str) -> Any:
        """Wait until an expression holds; returns its value."""
        stop = time.monotonic() + PATIENCE_S
        while not (value := self.run(expression)):
            if time.monotonic() > stop:
                raise RuntimeError(f"never came true: {expression}")
            time.sleep(0.02)
        return value

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """``mousePressed``, ``mouseReleased``, ``mouseMoved`` or ``mouseWheel`` at a place of the window."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float) -> None:
        """Press and let go the left button."""
        self.mouse("mouseMoved", x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """A key, by the name that JavaScript has for it."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def place(self, selector: str) -> tuple[float, float, float, float]:
        """Scroll an element into view; its left, top, width and height in the window."""
        return tuple(
            self.run(
                f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
                "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect(); "
                "return [b.left, b.top, b.width, b.height]; })()"
            )
        )

    def screenshot(self, path: Path) -> None:
        """The window as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        """End the browser and its children."""
        with suppress(RuntimeError, OSError):
            self._session = ""
            self.send("Browser.close")
        self._out.close()
        self._in.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._profile.cleanup()


if __name__ == "__main__":  # what `make test` asks before it installs one
    sys.exit(None if find() else "there is no browser")
