"""Answers with images: what is kept, and what a server may not send."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from kit.core import png
from kit.core.limits import LONGEST_SIDE
from kit.core.model import Request, Response
from kit.measure.drive.parse import Raw, finished
from tests import golden

WHOLE = golden.png_file(16, 8)
HEAD, DATA, END = WHOLE[8:33], WHOLE[33:-12], WHOLE[-12:]


def entry(data: bytes) -> dict[str, str]:
    return {"b64_json": base64.b64encode(data).decode()}


def answered(document: Any) -> tuple[Request, Response]:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    raw = Raw(
        index=0,
        stage="measured",
        item="x",
        intended=0,
        sent=1,
        done=10,
        status="ok",
        error=None,
        reads=[(5, head + body)],
        makes="image",
    )
    return finished(raw, 0)


@pytest.mark.parametrize("steps", [8, "8", 8.0, -8, "many", None, [8], True])
def test_the_count_of_the_request_is_the_one_that_is_kept_of_the_server(steps: Any) -> None:
    request, response = answered({"data": [entry(WHOLE)], "usage": {"steps": steps, "images": 1}})
    assert request.status == "ok"
    assert request.steps == (response.usage or {}).get("steps")
    assert request.steps == (8 if steps in (8, "8") else None)


@pytest.mark.parametrize(("images", "status"), [(64, "ok"), (65, "error")])
def test_an_answer_has_no_more_images_than_a_spec_may_ask_for(images: int, status: str) -> None:
    request, response = answered({"data": [entry(WHOLE)] * images})
    assert request.status == status
    assert len(response.images or ()) == (images if status == "ok" else 0)


@pytest.mark.parametrize("counted", [1, "1", 2, 0, "2", None, "many", [2]])
def test_an_answer_with_other_images_than_its_server_counts_fails(counted: Any) -> None:
    request, response = answered({"data": [entry(WHOLE)], "usage": {"images": counted}})
    is_other = counted in (2, 0, "2")
    assert request.code == ("image_count" if is_other else None)
    assert len(response.images or ()) == (0 if is_other else 1)


@pytest.mark.parametrize(
    "data",
    [
        WHOLE[:8] + HEAD + END,
        WHOLE[:8] + HEAD + HEAD + DATA + END,
        WHOLE[:8] + DATA + END,
        golden.png_file(LONGEST_SIDE + 1, 1),
        WHOLE + b"more",
        WHOLE[:-1],
        b"GIF89a",
    ],
    ids=["no pixels", "two heads", "no head", "long side", "more", "cut", "no png"],
)
def test_what_is_no_whole_image_fails_the_answer(data: bytes) -> None:
    with pytest.raises(ValueError):
        png.sides(data)
    request, response = answered({"data": [entry(data)]})
    assert (request.status, request.code, response.images) == ("error", "not_an_image", ())
