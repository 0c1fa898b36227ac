"""A real Chromium, driven over its pipe: pages at a width, on paper, and what overflows there."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium")
# Width and height in inches, and the margin that the page asks for.
PAPERS = {"A4": (8.27, 11.69), "Letter": (8.5, 11.0)}
MARGIN = 12 / 25.4
_PX = 96  # CSS pixels an inch
# Elements that reach beyond the page, and those that only scrolling shows whole.
_OVERFLOWING = """[...document.querySelectorAll('main *')].filter(e => {
  if (e.closest('svg, thead') || !e.getClientRects().length) return false;
  const box = e.getBoundingClientRect();
  return box.right > innerWidth + 1 || box.left < -1
    || (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline');
}).map(e => e.tagName + ': ' + e.textContent.slice(0, 60))"""


class Browser:
    """One page in a headless Chromium; a context manager."""

    def __init__(self, scratch: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()  # what it reads, what it writes

        def ends() -> None:
            os.dup2(read, 3)
            os.dup2(write, 4)

        # Above 4, so that neither is closed by the other's move.
        read, write = (_above(fd) for fd in (ours[0], theirs[1]))
        self._process = subprocess.Popen(
            [
                str(PROGRAM),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
                f"--user-data-dir={scratch}",
                "about:blank",
            ],
            preexec_fn=ends,
            pass_fds=(3, 4, read, write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        self._to, self._from, self._read = ours[1], theirs[0], b""
        self._number, self._session = 0, ""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        os.write(self._to, json.dumps(request).encode() + b"\0")
        while True:
            answer = json.loads(self._next())
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _next(self) -> bytes:
        while b"\0" not in self._read:
            more = os.read(self._from, 1 << 20)
            assert more, "the browser has gone"
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        return message

    def show(self, html: str) -> None:
        """Show a page, as opened from a file."""
        frame = self._ask("Page.getFrameTree")["frameTree"]["frame"]["id"]
        self._ask("Page.setDocumentContent", frameId=frame, html=html)

    def _wide(self, width: int, height: int = 900) -> None:
        """Give the screen ``width`` and ``height`` CSS pixels."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def picture(self, width: int, height: int = 0) -> bytes:
        """The page as a PNG, ``width`` CSS pixels wide; whole, or its first ``height`` pixels."""
        self._wide(width)
        whole = "Math.ceil(document.documentElement.getBoundingClientRect().height)"
        self._wide(width, height or int(self.value(whole)))
        shot = self._ask("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])

    def picture_of_svg(self, svg: str) -> bytes:
        """A drawing as a PNG, as large as it says."""
        self.show(f"<body style='margin:0'>{svg}</body>")
        self.value("document.querySelector('svg').style.display = 'block'")
        width = self.value("document.querySelector('svg').viewBox.baseVal.width")
        self.value(f"document.querySelector('svg').style.width = '{width}px'")
        return self.picture(int(width))

    def printed(self, paper: str) -> bytes:
        """The page as a PDF."""
        width, height = PAPERS[paper]
        self._ask("Emulation.setEmulatedMedia", media="")
        data = self._ask("Page.printToPDF", paperWidth=width, paperHeight=height)["data"]
        return base64.b64decode(data)

    def overflowing(self, width: int, medium: str = "screen") -> list[str]:
        """What does not fit into ``width`` CSS pixels."""
        self._wide(width)
        self._ask("Emulation.setEmulatedMedia", media=medium)
        return list(self.value(_OVERFLOWING))

    def value(self, expression: str) -> Any:
        """The value of an expression on the page."""
        found = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def pages(self, paper: str) -> int:
        """How many pages the document takes on ``paper``."""
        return len(re.findall(rb"/Type\s*/Page\b", self.printed(paper)))


def inside(paper: str) -> tuple[int, int]:
    """Width and height of the paper within its margins, in CSS pixels."""
    width, height = PAPERS[paper]
    return int((width - 2 * MARGIN) * _PX), int((height - 2 * MARGIN) * _PX)


def _above(fd: int) -> int:
    """The same file under a number above those that the browser reads and writes."""
    import fcntl

    high = fcntl.fcntl(fd, fcntl.F_DUPFD, 10)
    os.close(fd)
    return high
