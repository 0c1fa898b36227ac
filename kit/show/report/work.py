"""The work that was done: latency, launches and their texts."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from itertools import islice

from markupsafe import Markup

from kit.core import png
from kit.energy.names import OF_TEXTS
from kit.energy.results.document import Launch, Percentiles, Results
from kit.energy.results.requests import LATENCIES
from kit.show.report.parts import picture, section, table, tag
from kit.show.rounding import number


def latency(results: Results) -> Markup:
    of_texts = bool(results.metrics.keys() & OF_TEXTS)
    rows = []
    for launch in results.launches:
        latencies = launch.latency
        for since, of in (("sent", latencies.sent), ("intended", latencies.intended)):
            for name in LATENCIES if of_texts else ("e2e",):
                title = f"{name.upper()} from {since}"
                rows.append(_percentile_row(title, launch, getattr(of, name)))
        if of_texts:
            rows.append(_percentile_row("ITL (by chunk)", launch, latencies.itl))
    return section(
        "Latency",
        table(
            ["latency", "launch", "n", "p50", "p90", "p95", "p99"],
            rows,
            "Latency of the requests of each launch, in milliseconds.",
        ),
        note="In milliseconds, over the requests of one launch, which are not independent: no "
        "interval is given, and a percentile only if enough requests support it. The scatter "
        "between launches is given with the means of the medians above.",
    )


def _percentile_row(name: str, launch: Launch, of: Percentiles) -> list[object]:
    values = (of.p50, of.p90, of.p95, of.p99)
    shown = [tag("span", "–", class_="absent") if v is None else f"{v * 1e3:.2f}" for v in values]
    return [name, launch.index, of.n, *shown]


def launches(results: Results) -> Markup:
    of_images = "image_throughput" in results.metrics
    rows = []
    for launch in results.launches:
        counts, done = launch.counts, launch.throughput
        made = (counts.images, counts.steps) if of_images else (counts.output_tokens,)
        rate = done.images_per_s if of_images else done.output_tokens_per_s
        rows.append(
            [
                f"launch {launch.index}",
                f"{counts.completed} of {counts.issued}",
                _counted(counts.prompt_tokens),
                *map(_counted, made),
                _counted(None if rate is None else number(rate)),
                tag("code", (launch.outputs_sha256 or "none")[:12]),
            ]
        )
    of_texts = ("output tokens", "tokens/s", "texts (sha256)")
    named = ("images", "denoising steps", "images/s", "images (sha256)") if of_images else of_texts
    heads = ["launch", "requests answered", "prompt tokens", *named]
    caption = f"Requests and {'images' if of_images else 'tokens'} of each launch."
    return section("Launches", table(heads, rows, caption))


# Images of a page; a browser takes four bytes for each pixel, however small a file is.
_SHOWN, _SHOWN_BYTES, _SHOWN_PIXELS = 6, 4 << 20, 32 << 20


def pictures(images: Iterable[tuple[str, bytes]]) -> Markup:
    """The first images of the first launch, by name and PNG file; empty without any."""
    shown, size, pixels = [], 0, 0
    for name, data in islice(images, _SHOWN):
        size, pixels = size + len(data), pixels + math.prod(png.sides(data))
        if size > _SHOWN_BYTES or pixels > _SHOWN_PIXELS:
            break
        source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        shown.append(tag("figure", picture(source, name), tag("figcaption", tag("code", name))))
    if not shown:
        return Markup()
    note = "The first images of the first launch, as they were sealed."
    return section("Images", tag("div", *shown, class_="pictures"), note=note)


def _counted(value: object) -> object:
    return tag("span", "not counted", class_="absent") if value is None else value
