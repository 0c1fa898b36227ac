"""Token counts from the server after the measurement, if its streams had none."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from kit.measure.drive.body import MalformedAnswerError, answer_of
from kit.measure.drive.spool import Pair
from kit.measure.drive.wire import Address, Exchange, post

_COUNT_S = 30.0


class NotCountedError(Exception):
    """The server did not count; the number stays absent."""


async def recounted(
    address: Address,
    method: dict[str, str],
    pairs: dict[int, Pair],
    bodies: dict[int, dict[str, Any]],
) -> dict[str, int]:
    """Fill in the missing token counts of the answers in ``pairs``, until the server fails once.

    Such a server may count a token for the beginning of a text. An answer has none, so that the
    count of an empty text is subtracted. A prompt is counted if it was sent as it is; inside a
    chat template it cannot be counted, and stays absent.

    Args:
        method: a runtime's ``recount``: ``path`` to POST to, ``text_key`` of the text and
            ``count_key`` of the answer.

    Returns:
        How many answers were ``asked`` for and how many were ``counted``.
    """
    lacking = [i for i, pair in pairs.items() if _lacks(pair)]
    counted = 0
    try:
        marks = await _count(address, method, "") if lacking else 0
        for index in lacking:
            pairs[index] = await _recounted_pair(
                address, method, pairs[index], bodies[index], marks
            )
            counted += 1
    except (NotCountedError, OSError):
        pass  # a missing count is absent, and the figures say how many there are
    return {"asked": len(lacking), "counted": counted}


def _lacks(pair: Pair) -> bool:
    """Whether a count is missing and the text can give it; tokens without text cannot."""
    request, response = pair
    silent = bool(response.chunk_times) and not response.text
    return request.status == "ok" and request.output_tokens is None and not silent


async def _recounted_pair(
    address: Address, method: dict[str, str], pair: Pair, body: dict[str, Any], marks: int
) -> Pair:
    request, response = pair
    output = await _count(address, method, response.text) - marks
    prompt = request.prompt_tokens
    if prompt is None and isinstance(body.get("prompt"), str):
        prompt = await _count(address, method, body["prompt"])
    counted = msgspec.structs.replace(request, output_tokens=max(0, output), prompt_tokens=prompt)
    return counted, response


async def _count(address: Address, method: dict[str, str], text: str) -> int:
    """The server's count of the tokens of ``text``.

    Raises:
        NotCountedError: it gave none.
        OSError: it cannot be reached, or did not answer in time.
    """
    loop = asyncio.get_running_loop()
    exchange = Exchange(post(address, method["path"], {method["text_key"]: text}), loop)
    try:
        async with asyncio.timeout(_COUNT_S):
            await loop.create_connection(lambda: exchange, *address[:2])
            await exchange.done
        answer = answer_of(exchange.reads)
        if answer is None or answer.status != 200:
            raise NotCountedError
        document = msgspec.json.decode(b"".join(data for _, data in answer.body))
        return int(document[method["count_key"]])
    except (MalformedAnswerError, msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        raise NotCountedError from error
    finally:
        exchange.drop()
