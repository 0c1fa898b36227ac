"""Commands about this machine: doctor, monitor, images, weights."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from kit.cli import owning, progress
from kit.cli.common import Json, Runs, Yes, as_folder, print_json, say
from kit.cli.paths import Named, Written
from kit.core import onestep
from kit.core.errors import EXIT_BLOCKED, EXIT_VERIFY, UsageError
from kit.core.model import Finding
from kit.core.units import rounded
from kit.machine import containers, host, images
from kit.machine import weights as models
from kit.machine.host import example
from kit.machine.host.sections import holding_others
from kit.machine.weights import derive, own
from kit.measure import meters
from kit.measure.meters.watch import DeviceState, Snapshot, totals, watch
from kit.run import preflight
from kit.show import prometheus as exporting
from kit.show import render
from kit.spec import spec as specs


def doctor(
    *, runs: Runs = None, json: Json = False, init: Annotated[bool, Parameter(negative="")] = False
) -> int:
    """Report what this machine can run and measure, and how to fix what it cannot.

    Args:
        init: write a commented example of host.toml instead, where there is none.
    """
    if init:
        sys.stdout.write(f"{example.write()}\n")
        return 0
    return _show(preflight.examine(runs), json, EXIT_BLOCKED, "This machine")


def monitor(
    *,
    once: Annotated[bool, Parameter(negative="")] = False,
    json: Json = False,
    period_s: float = 1.0,
    prometheus: Annotated[int | bool, Parameter(negative="")] = False,
) -> None:
    """Show this host's power and energy, live; ctrl-C ends it.

    With --json, one object a line; its keys contain the units, null means unknown.

    Args:
        once: one reading, then end.
        period_s: seconds between readings.
        prometheus: serve the readings to Prometheus on 127.0.0.1 instead; a port may follow.
    """
    if prometheus is not False and (once or json):
        raise UsageError("--prometheus serves until it is ended", "leave out --once and --json")
    port = None if prometheus is False else exporting.port_of(prometheus)
    if not 0.1 <= period_s <= 3600:
        raise UsageError(f"--period-s {period_s:g} is too short or too long", "give 0.1 … 3600")
    config = host.HostConfig.load()
    wanted = meters.of_host(config.aliased())
    readings = watch(wanted, partial(_settings, config, wanted), period_s)
    try:
        if port is None:
            _show_power(islice(readings, 1) if once else readings, json)
        else:
            _serve(readings, port)
    except KeyboardInterrupt:
        return  # how a person ends it
    finally:
        readings.close()


def _settings(
    config: host.HostConfig, wanted: list[tuple[str, str | None]], name: str, alias: str | None
) -> dict[str, Any]:
    """A meter's settings; a BMC is shown beside outlets, and is not in their sum."""
    inside = name in holding_others(meter for meter, _ in wanted)
    return config.meter(name, alias) | ({"inside": True} if inside else {})


def _show_power(readings: Iterable[Snapshot], json: bool) -> None:
    if not json:
        render.power(readings)
        return
    for snapshot in readings:
        print_json(rounded(_as_json(snapshot)))
        sys.stdout.flush()


def _serve(readings: Iterable[Snapshot], port: int) -> None:
    exporter = exporting.Exporter()
    with exporting.serving(exporter, port) as url:
        say(f"{url} (ctrl-C ends it)")
        exporting.serve(readings, exporter)


def _as_json(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "t_s": round(snapshot.t_s, 3),
        "devices": {name: _device_json(device) for name, device in snapshot.devices.items()},
        "totals": totals(snapshot),
        "absent": snapshot.absent,
    }


def _device_json(device: DeviceState) -> dict[str, Any]:
    return {
        "scope": device.scope,
        "status": "estimated" if device.scope == "estimate" else "measured",
        "summed": device.summed,
        "power_W": device.watts,
        "power_method": device.power_from,
        "energy_J": device.joules,
        "energy_over_s": device.seconds,
        "energy_method": device.energy_from,
        **device.context,
        "event_reasons": None if device.reasons is None else list(device.reasons),
        "reason": device.why_not,
        "energy_reason": device.no_energy,
    }


# --- images ---------------------------------------------------------------------------------


def images_ls(*, json: Json = False) -> None:
    """List kit's image recipes with their locked digests."""
    rows = [
        {"recipe": r.name, "title": r.title, "digest": r.image_id, "reference": r.reference}
        for r in images.recipes()
    ]
    if json:
        print_json(rows)
        return
    for entry in rows:
        sys.stdout.write(f"{entry['recipe']:<20} {entry['digest'] or 'not locked'}\n")


def images_build(
    recipe: str, *, anew: Annotated[bool, Parameter(negative="")] = False, json: Json = False
) -> None:
    """Build a recipe's image and load it into the engine.

    Args:
        recipe: a recipe's name; `kit images ls` lists them.
        anew: build it although it exists.
    """
    with progress.Tasks() as tasks:
        built = images.build(recipe, tasks.say, tasks.progress, anew=anew)
    for line in built.drift:
        say(f"not as locked: {line}")
    if json:
        print_json({**msgspec.to_builtins(built.identity), "matches_lock": built.matches_lock})
    else:
        # What a spec pins: an id of containerd's store is of no use elsewhere.
        sys.stdout.write(f"{built.identity.config_digest or built.identity.image_id}\n")


def images_lock(recipe: str) -> None:
    """Build a recipe (or a base) from scratch and write its identity into its image.json.

    Args:
        recipe: a recipe's name, or a base such as `base`.
    """
    with progress.Tasks() as tasks:
        locked = images.lock(recipe, tasks.say, tasks.progress)
    sys.stdout.write(f"{getattr(locked, 'image_id', '') or getattr(locked, 'diff_id', '')}\n")


def images_context(recipe: str, folder: Annotated[Path, Written]) -> None:
    """Write the files that a recipe's Dockerfile reads into a new folder, for another builder.

    kit itself needs no other builder: `kit images build` makes the image from its locked parts.

    Args:
        recipe: a recipe's name.
        folder: the folder to make; it must not exist.
    """
    as_folder(folder, "FOLDER", "name a folder that does not exist yet")
    onestep.outside_runs(folder)
    with progress.Tasks() as tasks:
        images.lay(images.recipe(recipe), folder, tasks.say, tasks.progress)
    sys.stdout.write(f"{folder}\n")


def images_verify(
    recipe: str | None = None, image: str | None = None, *, json: Json = False
) -> int:
    """Check recipes against their locks, and the engine's images against the recipes.

    Of one recipe's image the first layer and file are named that differ, or where the files are the
    same, what of its configuration does.

    Args:
        recipe: a recipe's name; all of them if it is left out.
        image: an image of the engine, by name or id, that another builder made of the recipe.
    """
    if recipe is not None:
        return _difference(recipe, image, json)
    with containers.connect() as engine:
        return _show(images.check(engine.image), json, EXIT_VERIFY, "Images")


def _difference(name: str, image: str | None, json: bool) -> int:
    recipe = images.recipe(name)
    reference = image or recipe.reference
    with progress.Tasks() as tasks:
        found = images.first_difference(recipe, reference, tasks.say, tasks.progress)
    if json:
        print_json({"image": reference, "difference": found._asdict() if found else None})
    elif found:
        where = f"layer {found.layer} ({found.name})" if found.layer else found.name
        what = f"{where}: {found.what}"
        sys.stdout.write(f"{reference} is not what {name} makes; {what}\n")
    else:
        sys.stdout.write(f"{reference} is what {name} makes, layer by layer\n")
    return EXIT_VERIFY if found else 0


# --- weights --------------------------------------------------------------------------------


def weights_ls(spec: Annotated[Path | None, Named] = None, *, json: Json = False) -> None:
    """List the weights that a spec needs, or those that the store holds.

    Args:
        spec: a run spec.
    """
    folders = host.HostConfig.load().weights_folders
    if spec is None:
        rows = [(s.sha256, s.size, "stored" if s.intact else "changed") for s in models.verify()]
    else:
        wanted = specs.load(spec).weights
        files = wanted.files if wanted else ()
        rows = [(f.sha256, f.size, "here" if models.here(f, folders) else "missing") for f in files]
    if json:
        print_json([{"sha256": a, "size": b, "state": c} for a, b, c in rows])
        return
    for sha256, size, state in rows:
        sys.stdout.write(f"{sha256}  {size:>14,}  {state}\n")


def weights_add(
    spec: str, *, again: Annotated[bool, Parameter(negative="")] = False, yes: Yes = False
) -> None:
    """Fetch the weights that a spec needs and check their hashes; prints where they are.

    Of a model of your own the hashes are printed, and its folder is registered in host.toml after
    a yes, so that runs find it.

    Args:
        spec: a run spec; or a .gguf file, a model's folder, hf:ORG/REPO@REVISION from the
            hub's cache, or ollama:NAME:TAG from Ollama's store.
        again: also fetch files that are here, to check that their source gives the same bytes.
    """
    if own.is_model(spec):
        owning.add(spec, yes)
        return
    wanted = specs.load(Path(spec)).weights
    folders = host.HostConfig.load().weights_folders
    with progress.Tasks() as tasks:
        if wanted and wanted.derived:
            derive.ensure_derived(wanted, folders, tasks.say, tasks.progress, again=again)
        for file in wanted.files if wanted else ():
            path = models.ensure(file, folders, tasks.say, tasks.progress, again=again)
            sys.stdout.write(f"{path}\n")


def weights_derive(
    model: str, folder: Annotated[Path, Written], *, to: str = "safetensors"
) -> None:
    """Make model files of another form, as a spec can pin them; prints the spec's `weights`.

    The same files come out on every machine: `kit weights add` makes them again from a spec.

    Args:
        model: a .gguf file, or a spec whose weights are one.
        folder: where the new files go; it must not exist.
        to: safetensors (bfloat16), ctranslate2 (bfloat16), onnx (float32), onnx-int4 or onnx-cuda
            (bfloat16, for GPUs); each comes with the tokenizer.
    """
    if folder.exists():
        raise UsageError(f"{folder} already exists", "name a folder that does not exist")
    folders = host.HostConfig.load().weights_folders
    with progress.Tasks() as tasks:
        origin = None if own.is_model(model) else specs.load(Path(model)).weights
        if own.is_model(model):
            found = own.described(own.find(model), tasks.progress)
            origin, folders = found.spec, (*folders, found.folder)
        if origin is None:
            raise UsageError(f"{model} has no weights", "name a model, or a spec with weights")
        derived = derive.derivation(to, origin.files)
        with _new_folder(folder), derive.made(derived, folders, tasks.say, tasks.progress) as out:
            for path in out.iterdir():
                shutil.copy(path, folder)
    print_json(derive.weights_of(folder, origin, derived))


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """A folder that is made at once, so that long work is not lost, and is gone if it fails."""
    folder.mkdir(parents=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def weights_verify(*, json: Json = False) -> int:
    """Hash the weights in the store again."""
    stored = models.verify()
    if json:
        print_json([{"sha256": s.sha256, "size": s.size, "intact": s.intact} for s in stored])
    else:
        for entry in stored:
            sys.stdout.write(f"{entry.sha256}  {'ok' if entry.intact else 'CHANGED'}\n")
    return 0 if all(s.intact for s in stored) else EXIT_VERIFY


def _show(findings: list[Finding], json: bool, code: int, heading: str) -> int:
    """Print findings; returns the exit code: a failure where one of them is."""
    if json:
        print_json([msgspec.to_builtins(f) for f in findings])
    else:
        render.findings(findings, heading)
    return code if any(f.level == "fail" for f in findings) else 0
