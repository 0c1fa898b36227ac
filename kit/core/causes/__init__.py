"""Why a process died, from its log: the root cause, which is seldom in the last lines.

`find` looks for what happened first of what was fatal: a server's parent process, its shutdown and
its stack dumps write long after the line that a person needs. What it shows is made safe for a
terminal and short: a log is text of somebody else's program.
"""

from __future__ import annotations

from kit.core.causes.finding import Cause, find, read

__all__ = ("Cause", "find", "read")
