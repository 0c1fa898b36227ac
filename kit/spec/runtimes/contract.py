"""The contract of a runtime: facts and pure functions, one file for each runtime.

A runtime says how its server is started in the image, what a request looks like, when the server
is ready, how its tokens are counted and what it cannot do. It starts nothing and reads nothing:
`kit.run.launch` runs the container, `kit.run.steps` prepares the server, `kit.measure.drive` sends
the requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from kit.core.model import Makes, Problem, Repeat, RunSpec, WeightFile
from kit.core.prompt import Prompt

WEIGHTS = "/weights"
MODEL_NAME = "model"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 inside the container's own network

# What keeps a server from downloading and from sending usage reports, and gives it a home.
QUIET: Mapping[str, str] = MappingProxyType(
    {
        "HOME": "/tmp",  # noqa: S108 the container's
        "USER": "nobody",  # PyTorch asks for the user's name, which the image's passwd may lack
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }
)


class PromptIds(NamedTuple):
    """How a server tells the token ids that it makes of a request's prompt.

    The request's own body, not streamed, is sent to ``path``, and the ids come back under
    ``tokens``. Where the server takes a text instead, ``text_key`` is its key, ``extra`` goes with
    it, and ``template_path`` first turns the messages of a chat into that text (under ``prompt``).
    """

    path: str
    text_key: str = ""
    template_path: str = ""
    extra: Mapping[str, Any] = MappingProxyType({})


class ServerRequest(NamedTuple):
    """A request that kit sends once, outside of what is measured: a step of start-up or shutdown.

    ``name`` is the step's in the journal. ``body`` goes as JSON; or ``upload``, the SHA-256 of a
    mounted file, whose bytes are then the body. It is done when the answer is a success.
    """

    name: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    upload: str = ""

    @property
    def record(self) -> dict[str, Any]:
        """What the journal says was sent."""
        sent = {"name": self.name, "method": self.method, "path": self.path}
        body = {"body": dict(self.body)} if self.body is not None else {}
        return {**sent, **body, **({"upload": self.upload} if self.upload else {})}


class Runtime(Protocol):
    """The contract of a runtime; third parties register theirs under ``kit.runtimes``.

    Attributes:
        name: the word in a spec's ``runtime.name``.
        title: one line for a list or a form.
        recipe: kit's image recipe for it (a folder of ``images/``); None if kit has none, so that
            a spec must name an image by digest.
        gpu: whether that recipe's image can use a GPU (without a recipe: whether the runtime can).
        gpu_recipe: kit's recipe with GPU code, where it is another one; None if kit has none.
        port: where the server listens inside the container.
        options_schema: JSON Schema of ``runtime.options``: every option with its default and a
            description, from which a form can be made.
        ready_path: answers 200 when the server can serve requests.
        effective_paths: paths of the configuration in effect, read outside measured phases.
        makes: ``text`` or ``image``; a workload that asks for the other is refused.
        equal_work: it honours ``ignore_eos``, so that every run generates equally many tokens.
        streams_usage: its streams end with the server's own count of tokens.
        recount: if ``streams_usage`` is false, how to count a text's tokens after the
            measurement: ``{"path": POST here, "text_key": the text goes here, "count_key": the
            number comes back here}``.
        end_mark: each of its streams ends with ``data: [DONE]``; one without was cut short.
        real: false for the test runtime, which must never be shown as a real one.
        loads: the kinds of models it is offered for (``gguf``, ``safetensors``). A model of one's
            own begins with the first runtime that loads its kind.
        scratch_bytes: size of a /tmp from which programs may run, for a runtime that compiles when
            it starts; 0 for the usual /tmp of 256 MiB, from which nothing runs.
        copies_weights: it keeps a copy of the model's files in its /tmp, which is so much larger.
        copies_key_heads: where its `ranks` are more than the heads of keys and values, several of
            them have the same one; else their number must divide these heads too.
        listen_variable: the variable of the environment that says where to listen, as
            ``ADDRESS:PORT``, for a server that takes no argument for it.
        log_facts: what only the server's log tells once it is ready: name → regular expression
            with one group, the last match of which counts. Names ending in ``_s`` are the seconds
            of a step of the startup phase.
        repeat: what to expect of the same work done again, see `kit.core.model.Repeat`. Only what
            was measured, or what its makers promise.
        prompt_ids: how the server tells the token ids of a prompt, see `PromptIds`; None if it
            cannot.
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
    makes: Makes = "text"
    loads: tuple[str, ...] = ()
    gpu_recipe: str | None = None
    scratch_bytes: int = 0
    copies_weights: bool = False
    copies_key_heads: bool = True
    listen_variable: str = ""
    log_facts: Mapping[str, str] = MappingProxyType({})
    prompt_ids: PromptIds | None = None
    repeat: Repeat = Repeat(kind="sampled", why="Nobody measured it.")

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

    def ranks(self, spec: RunSpec) -> int:  # noqa: ARG002 the contract
        """How many processes share each layer of the model, and so its attention heads."""
        return 1

    def preparing(self, spec: RunSpec) -> tuple[ServerRequest, ...]:  # noqa: ARG002 the contract
        """Requests that make a server that answers ready for work: a model's load, for instance."""
        return ()

    def closing(self, spec: RunSpec) -> tuple[ServerRequest, ...]:  # noqa: ARG002 the contract
        """Requests before the server is stopped: a model's unload, for instance."""
        return ()


# --- what the container is given, by these facts ------------------------------------------------


def environment(runtime: Runtime, spec: RunSpec, listen: str = ANY_ADDRESS) -> dict[str, str]:
    """The container's environment, with the address where the server is told it in a variable."""
    name = runtime.listen_variable
    return runtime.env(spec) | ({name: f"{listen}:{runtime.port}"} if name else {})


def scratch_size(runtime: Runtime, spec: RunSpec) -> int:
    """The size of a /tmp from which programs may run, bytes; 0 for the usual one."""
    copied = spec.weights.files if runtime.copies_weights and spec.weights else ()
    return runtime.scratch_bytes + sum(file.size for file in copied)


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


def folder_problems(spec: RunSpec) -> list[Problem]:
    """Problem: the weights are no folder with ``config.json``, safetensors and a tokenizer."""
    files = spec.weights.files if spec.weights else ()
    names = {file.path for file in files}
    lacking = [name for name in ("config.json", "tokenizer.json") if name not in names]
    if not any(name.endswith(".safetensors") for name in names):
        lacking.append("*.safetensors")
    if not lacking:
        return []
    number = "none" if spec.weights is None else f"{len(files)} file(s) without {lacking[0]}"
    derived = "make one of the .gguf file (`kit weights derive`), or " if the_gguf(spec) else ""
    return [
        Problem(
            "$.weights",
            f"{spec.runtime.name} loads a model's folder: config.json, tokenizer.json and "
            f"safetensors; the spec gives {number}",
            f"{derived}name every file of the model's folder",
        )
    ]


_WITH_GPU_CODE = "name an image with GPU code by digest"


def image_problems(runtime: Runtime, spec: RunSpec) -> list[Problem]:
    """Problems: an image of another runtime, or GPUs and an image that do not belong together."""
    recipe, gpus = spec.image.recipe, spec.devices.gpus
    if recipe is None:
        return []
    if recipe not in (runtime.recipe, runtime.gpu_recipe):
        own = runtime.gpu_recipe if gpus and runtime.gpu_recipe else runtime.recipe
        use = f'use "{own}", or' if own else "name"
        return [
            Problem(
                "$.image.recipe",
                f"the image {recipe} does not carry the runtime {runtime.name}",
                f"{use} an upstream image by digest",
            )
        ]
    if recipe == runtime.gpu_recipe and not gpus:
        return [
            Problem(
                "$.devices.gpus",
                f"kit's image {recipe} is built for GPUs, and the spec asks for none",
                f'set gpus to 1, or use the image "{runtime.recipe}"',
            )
        ]
    if recipe == runtime.recipe and gpus and not runtime.gpu:
        other = f'use the image "{runtime.gpu_recipe}"' if runtime.gpu_recipe else _WITH_GPU_CODE
        return [
            Problem(
                "$.devices.gpus",
                f"kit's image {recipe} is built without GPU code, but {gpus} GPU(s) are asked for",
                f"{other}, or set gpus to 0",
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
