"""The contract of a runtime: facts and pure functions, one file for each runtime.

A runtime says how its server is started in the image, what a request looks like, when the server
is ready, how its tokens are counted and what it cannot do. It starts nothing and reads nothing:
`kit.run.launch` runs the container, `kit.measure.drive` sends the requests.
"""

from __future__ import annotations

from typing import Any, Protocol

from kit.core.model import Problem, Prompt, RunSpec, WeightFile

WEIGHTS = "/weights"
MODEL_NAME = "model"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 inside the container's own network


class Runtime(Protocol):
    """The contract of a runtime; third parties register theirs under ``kit.runtimes``.

    Attributes:
        name: the word in a spec's ``runtime.name``.
        title: one line for a list or a form.
        recipe: kit's image recipe for it (a folder of ``images/``); None if kit has none, so that
            a spec must name an image by digest.
        gpu: whether that recipe's image can use a GPU (without a recipe: whether the runtime can).
        port: where the server listens inside the container.
        options_schema: JSON Schema of ``runtime.options``: every option with its default and a
            description, from which a form can be made.
        ready_path: answers 200 when the server can serve requests.
        effective_paths: paths of the configuration in effect, read outside measured phases.
        equal_work: it honours ``ignore_eos``, so that every run generates equally many tokens.
        streams_usage: its streams end with the server's own count of tokens.
        recount: if ``streams_usage`` is false, how to count a text's tokens after the
            measurement: ``{"path": POST here, "text_key": the text goes here, "count_key": the
            number comes back here}``.
        end_mark: each of its streams ends with ``data: [DONE]``; one without was cut short.
        real: false for the test runtime, which must never be shown as a real one.
        loads: the kinds of models it is offered for (``gguf``, ``safetensors``). A model of one's
            own begins with the first runtime that loads its kind.
    """

    name: str
    title: str
    recipe: str | None
    gpu: bool
    port: int
    options_schema: dict[str, Any]
    ready_path: str
    effective_paths: tuple[str, ...]
    equal_work: bool
    streams_usage: bool
    recount: dict[str, str] | None
    end_mark: bool = True
    real: bool
    loads: tuple[str, ...] = ()

    def argv(self, spec: RunSpec, listen: str = ANY_ADDRESS) -> tuple[str, ...]:
        """The arguments of the image's entry point; ``listen`` is 127.0.0.1 on the host's network.

        The image's ENTRYPOINT is the server itself.
        """
        ...

    def env(self, spec: RunSpec) -> dict[str, str]:
        """The container's environment, on top of the image's."""
        ...

    def request(self, spec: RunSpec, prompt: Prompt, index: int) -> tuple[str, dict[str, Any]]:
        """Path and JSON body of the ``index``-th request."""
        ...

    def problems(self, spec: RunSpec) -> list[Problem]:
        """Parts of ``spec`` that this runtime cannot do."""
        ...


# --- pieces that runtimes share -----------------------------------------------------------------


def options_schema(**properties: dict[str, Any]) -> dict[str, Any]:
    """A closed JSON Schema object of these options."""
    return {"type": "object", "additionalProperties": False, "properties": properties}


def flags(values: dict[str, Any]) -> tuple[str, ...]:
    """``--name value`` for every value that is not None."""
    options = {name: value for name, value in values.items() if value is not None}
    return tuple(part for name, value in options.items() for part in (f"--{name}", str(value)))


def openai_request(
    spec: RunSpec, prompt: Prompt, index: int, extra: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """A streamed completion with every sampling parameter given, so that no default applies.

    A chat, or a bare completion if the runtime's option ``api`` says so. The seed grows with
    ``index``, so that no two requests share their random numbers.
    """
    sampling = spec.sampling
    body = {
        "model": MODEL_NAME,
        "stream": True,
        "max_tokens": prompt.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed + index,
        **extra,
    }
    if spec.runtime.options.get("api") == "completion":
        return "/v1/completions", {**body, "prompt": prompt.text}
    messages = [{"role": "user", "content": prompt.text}]
    return "/v1/chat/completions", {**body, "messages": messages}


def api_option() -> dict[str, Any]:
    """The option ``api`` of runtimes that serve both of OpenAI's text APIs."""
    return option(
        "string",
        "chat",
        "How a prompt is sent: through the model's chat template, or as it is (for a base model).",
        enum=["chat", "completion"],
    )


def context_option(description: str) -> dict[str, Any]:
    """The option ``context``, in tokens; runtimes differ in what has to fit into it."""
    return option("integer", 2048, description, minimum=16, maximum=1 << 24)


def the_gguf(spec: RunSpec) -> WeightFile | None:
    """The spec's one GGUF file; None if there is not exactly one file, or it is not GGUF."""
    files = spec.weights.files if spec.weights else ()
    return files[0] if len(files) == 1 and files[0].path.endswith(".gguf") else None


def gguf_problems(spec: RunSpec) -> list[Problem]:
    if the_gguf(spec):
        return []
    number = "none" if spec.weights is None else f"{len(spec.weights.files)} file(s)"
    return [
        Problem(
            "$.weights",
            f"{spec.runtime.name} loads exactly one .gguf file; the spec gives {number}",
            "name one file whose path ends in .gguf",
        )
    ]


def image_problems(runtime: Runtime, spec: RunSpec) -> list[Problem]:
    """Problems: an image of another runtime, or GPUs for an image without GPU code."""
    recipe = spec.image.recipe
    if recipe is not None and recipe != runtime.recipe:
        own = f'use "{runtime.recipe}", or' if runtime.recipe else "name"
        return [
            Problem(
                "$.image.recipe",
                f"the image {recipe} does not carry the runtime {runtime.name}",
                f"{own} an upstream image by digest",
            )
        ]
    if recipe is not None and spec.devices.gpus and not runtime.gpu:
        return [
            Problem(
                "$.devices.gpus",
                f"kit's image {recipe} is built without GPU code, but {spec.devices.gpus} "
                "GPU(s) are asked for",
                "name an upstream image with GPU code by digest, or set gpus to 0",
            )
        ]
    return []


def context_problems(spec: RunSpec, context: int) -> list[Problem]:
    """Problem: an answer as long as the context leaves no space for its prompt."""
    wanted = spec.workload.options.get("max_output_tokens")
    if not isinstance(wanted, int) or wanted < context:
        return []
    return [
        Problem(
            "$.runtime.options.context",
            f"a context of {context} tokens has no room for a prompt and {wanted} output tokens",
            "raise context, or lower max_output_tokens",
        )
    ]


def option(kind: str | list[str], default: Any, description: str, **rules: Any) -> dict[str, Any]:
    """One property of an options schema."""
    return {"type": kind, "default": default, "description": description, **rules}
