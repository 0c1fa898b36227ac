"""What an engine offers to kit's thin server (`serve.py` beside this file), and what it is given.

An image has these files beside its own ``engine.py``, a module with

- ``NAME``: the runtime's name; in front of each line on stderr, and in ``/props``;
- ``flags(parser)``: adds the engine's own flags to argparse's parser. ``--model``, ``--alias``,
  ``--max-context``, ``--host`` and ``--port`` are there;
- ``load(args)``: gives the `Engine`, having run once; what it raises ends the server with 1;
- ``BATCHES = True``, if it runs several requests as one batch: then there is ``--batch`` also;
- ``API``, if it answers anything but texts (see `Api`; text is the default).

All methods of an engine are called in one thread, which nothing else uses: an engine needs no
locks, and may keep whatever belongs to a thread.

An engine of texts derives from `TextEngine`. Where it generates one request at a time, this is
all that it has to say::

    class Engine(TextEngine):
        title, max_context, end_tokens = "…", 2048, frozenset({2})
        def props(self): ...                # the configuration in effect, a JSON object
        def encode(self, text, special): ...    # text to token ids
        def decode(self, ids): ...              # token ids to text
        def render(self, messages): ...         # the chat template; or None if there is none
        def tokens(self, row): ...              # yields the ids of the answer, without end

`Tokenizer` gives encode, decode and render from the files of a model's folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

TAIL = 6  # ids of the prompt, enough for a character or a space that reaches into the answer


class BadRequest(ValueError):
    """What a client asked for cannot be done; the message goes to it with status 400."""


class Asked(NamedTuple):
    """One completion as asked for: ``messages`` for a chat, else ``prompt``; top_k 0 is off."""

    messages: list[dict[str, str]] | None
    prompt: str | None
    stream: bool
    include_usage: bool
    max_tokens: int | None
    temperature: float
    top_p: float
    top_k: int
    seed: int | None
    ignore_eos: bool


class Piece(NamedTuple):
    """What one step adds to an answer: its text (maybe empty), and why it was the last one."""

    text: str
    finish: str | None = None


class Row:
    """One request of a batch: the prompt's ``ids``, and how many tokens are ``wanted``.

    ``over`` becomes true when its answer has ended; what an engine generates for it from then on
    is dropped. ``ids`` is empty where an engine has no tokens.
    """

    def __init__(self, asked: Any, ids: Sequence[int] = (), wanted: int = 0) -> None:
        self.asked, self.ids, self.wanted = asked, list(ids), wanted
        self.over = False


class Engine(Protocol):
    """A loaded model. ``title`` is what stderr says of it once it is ready."""

    title: str

    def props(self) -> dict[str, Any]:
        """The configuration in effect, as a JSON object; nothing in it names the machine."""
        ...

    def prompt_ids(self, asked: Any) -> list[int]:
        """Exactly the ids that are fed to the model for this request.

        Raises:
            BadRequest: there are none, or the request cannot be done.
        """
        ...

    def prepare(self, asked: Any) -> Row:
        """The request, ready to run.

        Raises:
            BadRequest: it cannot be done, alone or in any company.
        """
        ...

    def answer(self, rows: list[Row]) -> Iterator[list[tuple[int, Any]]]:
        """Run the rows together: for each step, what it adds, as (index of the row, piece).

        A piece is a `Piece`, or what else the engine's `Api` can write.
        """
        ...


class Form(Protocol):
    """The JSON documents of one answer, in the words of its API."""

    def chunk(self, piece: Any) -> dict[str, Any]:
        """The event of one piece."""
        ...

    def last(self, row: Row, count: int, batch: int) -> dict[str, Any] | None:
        """The event after ``count`` pieces, of a request that ran in a batch of ``batch``."""
        ...

    def whole(self, row: Row, pieces: list[Any], batch: int) -> dict[str, Any]:
        """The answer that is not streamed."""
        ...


class Api(NamedTuple):
    """Which requests a server takes, and how it answers them.

    ``read(path, body)`` gives what is asked, with a field ``stream``, or raises `BadRequest`;
    path ``/tokenize`` is asked with any body that one of ``paths`` takes.
    ``form(asked, model, number)`` gives the documents of the answer.
    """

    paths: tuple[str, ...]
    read: Callable[[str, bytes], Any]
    form: Callable[[Any, str, int], Form]


# --- text ---------------------------------------------------------------------------------------


class TextEngine:
    """An engine of texts: prompts, limits, ends and detokenising, from ids in and ids out."""

    title = ""
    max_context = 2048
    end_tokens: frozenset[int] = frozenset()

    def props(self) -> dict[str, Any]:
        raise NotImplementedError

    def encode(self, text: str, special: bool) -> list[int]:
        """Ids of a text; ``special``: with the tokens that the model wants around it."""
        raise NotImplementedError

    def decode(self, ids: list[int]) -> str:
        """The text of ids, without special tokens."""
        raise NotImplementedError

    def render(self, messages: list[dict[str, str]]) -> str | None:
        """A chat as the model's template writes it, special tokens and all; None without one."""
        return None

    def tokens(self, row: Row) -> Iterator[int | Piece]:
        """The answer to one request: ids without end, an ``end_tokens`` among them or not.

        With ``row.asked.ignore_eos`` none of ``end_tokens`` may be chosen. An engine that gives
        texts and no ids yields a `Piece` for each token, the last one with its reason to finish.
        """
        raise NotImplementedError

    def steps(self, rows: list[Row]) -> Iterator[Sequence[int | Piece]]:
        """The answers of a batch in lockstep: for each step one token of every row."""
        (row,) = rows
        for token in self.tokens(row):
            yield (token,)

    def warm_up(self, batch: int = 1) -> None:
        """Two tokens, so that what cannot run is found now, and not by the first request."""
        asked = Asked(None, "a", False, False, 2, 0.0, 1.0, 0, None, True)
        for _ in self.answer([self.prepare(asked) for _ in range(batch)]):
            pass

    def prompt_ids(self, asked: Asked) -> list[int]:
        """Token ids of the prompt; a chat's template writes its special tokens itself."""
        if asked.messages is None:
            ids = self.encode(asked.prompt or "", True)
        else:
            try:
                text = self.render(asked.messages)
            except Exception as error:  # templates raise for roles that they do not know
                raise BadRequest(f"the chat template refuses: {error}") from error
            if text is None:
                raise BadRequest("this model has no chat template: use /v1/completions")
            ids = self.encode(text, False)
        if not ids:
            raise BadRequest("the prompt is empty")
        return list(ids)

    def prepare(self, asked: Asked) -> Row:
        ids = self.prompt_ids(asked)
        room = self.max_context - len(ids)
        wanted = room if asked.max_tokens is None else asked.max_tokens
        if not 0 < wanted <= room:
            raise BadRequest(
                f"{len(ids)} prompt tokens and {asked.max_tokens or 1} more are over the context "
                f"of {self.max_context}"
            )
        return Row(asked, ids, wanted)

    def answer(self, rows: list[Row]) -> Iterator[list[tuple[int, Piece]]]:
        words = [Detokenizer(self.decode, row.ids[-TAIL:]) for row in rows]
        for number, tokens in enumerate(self.steps(rows), 1):
            made = []
            for index, (row, token) in enumerate(zip(rows, tokens, strict=True)):
                if not row.over:
                    piece = self._piece(row, token, number, words[index])
                    row.over = piece.finish is not None
                    made.append((index, piece))
            yield made
            if all(row.over for row in rows):
                return
        if not all(row.over for row in rows):
            raise RuntimeError("the engine stopped before the answer was over")

    def _piece(self, row: Row, token: int | Piece, number: int, words: Detokenizer) -> Piece:
        """What the row's token number ``number`` adds."""
        if isinstance(token, Piece):
            length = "length" if number == row.wanted else None
            return Piece(token.text, token.finish or length)
        if token in self.end_tokens and not row.asked.ignore_eos:
            return Piece(words.rest(), "stop")
        text = words.add(token)
        if number == row.wanted:
            return Piece(text or words.rest(), "length")
        return Piece(text)


class Detokenizer:
    """Token ids to text, as they come; half a UTF-8 character is held back until it is whole.

    ``decode`` gives the text of a list of ids. The text of a token may depend on those before it
    (a leading space, a character spread over tokens), so a short tail is decoded again each time;
    ``before`` are the last ids of the prompt.
    """

    def __init__(self, decode: Callable[[list[int]], str], before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._ids = list(before)  # from the last point but one where the text was whole
        self._shown = len(self._ids)  # how many of them have been given out

    def add(self, token: int) -> str:
        """The text that ``token`` completes; empty where its character is not whole yet."""
        self._ids.append(token)
        text = self._new()
        if not text or text.endswith("\ufffd"):
            return ""
        self._ids, self._shown = self._ids[self._shown :], len(self._ids) - self._shown
        return text

    def rest(self) -> str:
        """What was held back at the end, with U+FFFD in place of what never became whole."""
        return self._new()

    def _new(self) -> str:
        before = self._decode(self._ids[: self._shown]) if self._shown else ""
        return self._decode(self._ids)[len(before) :]


class Tokenizer:
    """encode, decode and render from a folder with tokenizer.json, for engines that have none.

    The chat template is that of chat_template.jinja or tokenizer_config.json, rendered as
    Transformers does. Needs the packages tokenizers and, for a chat, jinja2.
    """

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer as Reader

        self._reader = Reader.from_file(str(folder / "tokenizer.json"))
        about = folder / "tokenizer_config.json"
        self._config = json.loads(about.read_text("utf-8")) if about.is_file() else {}
        template = folder / "chat_template.jinja"
        text = template.read_text("utf-8") if template.is_file() else None
        self.chat_template: str | None = text or self._config.get("chat_template")

    def encode(self, text: str, special: bool) -> list[int]:
        return list(self._reader.encode(text, add_special_tokens=special).ids)

    def decode(self, ids: list[int]) -> str:
        return str(self._reader.decode(ids, skip_special_tokens=True))

    def render(self, messages: list[dict[str, str]]) -> str | None:
        named = {name: self._special(name) for name in ("bos_token", "eos_token", "unk_token")}
        return self.chat_template and render_chat(self.chat_template, messages, named)

    def _special(self, name: str) -> str:
        said = self._config.get(name)
        return str(said.get("content", "") if isinstance(said, dict) else said or "")


def render_chat(
    template: str, messages: list[dict[str, str]], special: Mapping[str, str | None]
) -> str:
    """A chat as Transformers renders ``template``, ready for the answer; ``special`` are texts of
    special tokens by the names that templates use (``bos_token``)."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise ValueError(message)

    place = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    place.globals["raise_exception"] = refuse
    place.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    written = place.from_string(template)
    return str(written.render(messages=messages, add_generation_prompt=True, **special))
