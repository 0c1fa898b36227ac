"""``python -m tests.fuzz``: many changed runs through every command that reads one.

Each input is known by its number: ``--first N --count 1 --jobs 1`` repeats it. Exit code 1 where
one ended in anything but an answer or a `KitError`, or hung.
"""

from __future__ import annotations

import argparse
import collections
import functools
import gc
import itertools
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from kit.judge import admission
from kit.judge.verify import schema
from kit.record import archive
from kit.record.archive import MANIFEST
from kit.store import seal
from tests import golden
from tests.fuzz import faces, mutate
from tests.fuzz.faces import FACES, Hang, Workplace
from tests.fuzz.mutate import CONTENT, Files

Counts = collections.Counter[str]
# More than half of all inputs are sealed again, so that they pass the hashes.
_LAYERS = ("zip", "zip", "manifest", "manifest", *CONTENT, "json", "lines", "csv", "number")
_MEMORY = 2 * 2**30
_SILENT_S = 90.0  # after so long without a word a worker hangs where no alarm reaches it


class Fuzz:
    """One worker's inputs, from a sound run of its own."""

    def __init__(self, folder: Path, asked: float) -> None:
        golden.LAUNCHES = 1
        # Files that were not changed are looked at once: what they are is in the key.
        schema.file_problems = functools.lru_cache(512)(schema.file_problems)
        self.original = golden.build(folder / "runs")
        source = archive.open_source(self.original)
        sound = {n: source.read(n) for n in source.names() if not n.startswith("private/")}
        self.zip = seal.export(self.original, folder).read_bytes()
        self.place = Workplace(folder, sound, self.original)
        _know_sound(self.original)
        self.asked = asked
        self.counts: Counts = collections.Counter()
        self.faults: list[tuple[int, str, str]] = []
        for ask in FACES.values():  # imports what it needs, before any limit of time
            with faces.silent():
                ask(self.place, self.original)
        gc.freeze()

    def one(self, seed: int) -> None:
        """Make input ``seed`` and ask everything of it."""
        rng = random.Random(seed)
        layer = rng.choice(_LAYERS)
        if layer == "zip":
            self._ask(seed, rng, "zip", self.place.put_zip(mutate.scrambled(rng, self.zip)))
            return
        files = self._changed(rng, layer)
        again = layer != "manifest" and rng.random() < 0.85
        if again:
            files = mutate.registered(files) if rng.random() < 0.6 else files
            files = mutate.sealed(files, self.place.sound[MANIFEST])
        self._ask(seed, rng, f"{layer}, sealed again" if again else layer, self.place.put(files))
        if rng.random() < self.asked / 4:
            self._guarded(seed, "recover", lambda: faces.recover(self.place, files))

    def _changed(self, rng: random.Random, layer: str) -> Files:
        if layer == "manifest":
            return mutate.root(rng, self.place.sound)
        return CONTENT[layer](rng, self.place.sound)

    def _ask(self, seed: int, rng: random.Random, layer: str, path: Path) -> None:
        outcome = ["refused"]
        self._guarded(seed, "verify", lambda: outcome.append(faces.outcome(path)))
        self.counts[f"{layer} → {outcome[-1]}"] += 1
        # The others compute everything again; on what does not verify they end early.
        asked = list(FACES) if outcome[-1] in ("L0", "L1") else rng.sample(list(FACES), 1)
        for name in asked if rng.random() < self.asked else ():
            self._guarded(seed, name, lambda name=name: FACES[name](self.place, path))

    def _guarded(self, seed: int, face: str, ask: object) -> None:
        self.counts[f"asked: {face}"] += 1
        try:
            with faces.guarded():
                ask()  # type: ignore[operator]
        except Hang:
            self.faults.append((seed, face, f"longer than {faces.LIMIT_S} s"))
        except BaseException as error:
            self.faults.append((seed, face, _summary(error)))


def _know_sound(original: Path) -> None:
    """Verify the sound run, which each comparison asks for, once and not each time."""
    verify = functools.cache(admission.verify)
    admission.verify = lambda run, **how: (verify if run == original else verify.__wrapped__)(
        run, **how
    )


def _summary(error: BaseException) -> str:
    """The innermost places of a traceback, and the error's kind first."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames)]
    return f"{type(error).__name__} at {' < '.join(places)}: {str(error)[:200]}"


def work(share: range, report: Path, limit_s: float, asked: float) -> None:
    """A worker: the inputs of ``share``, until they are done or the time is over."""
    memory = Path("/dev/shm")
    base = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="kit-fuzz-", dir=base))
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))  # more is a fault as well
    end = time.monotonic() + limit_s
    try:
        fuzz = Fuzz(folder, asked)
        for done, seed in enumerate(share, 1):
            report.with_suffix(".now").write_text(str(seed))
            fuzz.one(seed)
            over = time.monotonic() > end
            if over or done % 50 == 0 or done == len(share):
                report.write_text(json.dumps([done, fuzz.counts, fuzz.faults]))
            if over:
                break
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def supervise(
    shares: list[range], limit_s: float, asked: float
) -> tuple[int, Counts, list[list[Any]]]:
    """Fork the workers, watch that none is silent, and add up what they found."""
    done, counts, faults = 0, collections.Counter[str](), []
    with tempfile.TemporaryDirectory() as name:
        reports = [Path(name) / f"{n}.json" for n in range(len(shares))]
        children = {}
        for share, path in zip(shares, reports, strict=True):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    work(share, path, limit_s, asked)
                    code = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(code)
            children[pid] = path
        for _, seed in _silent(children):
            faults.append([seed, "?", f"the worker was silent for {_SILENT_S:g} s, or died"])
        for path in reports:
            if path.is_file():
                own, findings, wrong = json.loads(path.read_text())
                done += own
                counts.update(findings)
                faults += wrong
    return done, counts, faults


def _silent(children: dict[int, Path]) -> list[tuple[Path, int]]:
    """Wait for the workers; end those that say nothing for long."""
    case = []
    while children:
        time.sleep(0.2)
        for pid, path in list(children.items()):
            now = path.with_suffix(".now")
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del children[pid]
                case += [(path, int(now.read_text()))] if status and now.is_file() else []
                continue
            if now.is_file() and time.time() - now.stat().st_mtime > _SILENT_S:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                del children[pid]
                case.append((path, int(now.read_text())))
    return case


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--faces", type=float, default=0.4, help="share that goes to more than verify"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after that")
    asked = parser.parse_args()
    begin = time.monotonic()
    edges = [asked.first + n * asked.count // asked.jobs for n in range(asked.jobs + 1)]
    shares = [range(a, b) for a, b in itertools.pairwise(edges)]
    done, counts, faults = supervise(shares, asked.seconds, asked.faces)
    again = sum(n for key, n in counts.items() if "sealed again" in key)
    for key, number in sorted(counts.items()):
        print(f"{number:8d}  {key}")
    print(f"{done} inputs in {time.monotonic() - begin:.0f} s, {again} of them sealed again")
    kinds: dict[str, list[tuple[int, str]]] = {}
    for seed, face, what in faults:
        kinds.setdefault(f"{face}: {what.partition(': ')[0]}", []).append((seed, what))
    for kind, cases in sorted(kinds.items(), key=lambda item: -len(item[1])):
        message = cases[0][1].partition(": ")[2]
        print(f"\n{len(cases)} × {kind}\n  inputs {[seed for seed, _ in cases[:5]]}: {message}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
