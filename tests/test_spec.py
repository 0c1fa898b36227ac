"""Run specs: every problem at once, with its path and a remedy; defaults from one place."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core import resources
from kit.core.errors import SpecInvalid, UsageError
from kit.core.model import RunSpec
from kit.run.plan import duration_s
from kit.spec import spec, workloads

QUICKSTART = json.loads((resources.specs_dir() / "quickstart.json").read_text())


def problems(document: Any) -> dict[str, str]:
    return {p.path: f"{p.message} {p.remedy}" for p in spec.problems(document)}


def changed(**changes: Any) -> dict[str, Any]:
    return {**json.loads(json.dumps(QUICKSTART)), **changes}


@pytest.mark.parametrize("path", sorted(resources.specs_dir().glob("*.json")), ids=lambda p: p.stem)
def test_every_shipped_spec_is_valid(path: Path) -> None:
    assert spec.load(path).name


def test_all_problems_are_listed_at_once_each_with_path_and_remedy() -> None:
    listed = problems(
        changed(
            name="Not A Name",
            launches=0,
            surprise=1,
            meters=[{"name": "nvml"}, {"name": 7}],
            arrivals={"kind": "constant"},
        )
    )
    assert {"$.name", "$.launches", "$", "$.meters[1].name", "$.arrivals"} <= listed.keys()
    assert all(len(text) > 15 for text in listed.values())


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"image": {"reference": "vllm/vllm-openai:latest"}}, "$.image.reference"),
        ({"image": {"recipe": "llama-server"}}, "$.image"),
        ({"image": {"recipe": "llama-server", "digest": "latest"}}, "$.image.digest"),
        ({"weights": {**QUICKSTART["weights"], "revision": "main"}}, "$.weights.revision"),
        (
            {
                "weights": {
                    **QUICKSTART["weights"],
                    "files": [
                        {
                            **QUICKSTART["weights"]["files"][0],
                            "source": "hf:org/repo@main/model.gguf",
                        }
                    ],
                }
            },
            "$.weights.files[0].source",
        ),
    ],
)
def test_what_is_not_pinned_is_a_problem(change: dict[str, Any], path: str) -> None:
    assert path in problems(changed(**change))


@pytest.mark.parametrize(
    ("change", "path", "word"),
    [
        ({"runtime": {"name": "nonesuch"}}, "$.runtime.name", "llama-server"),
        (
            {"runtime": {"name": "llama-server", "options": {"colour": 1}}},
            "$.runtime.options",
            "colour",
        ),
        (
            {"workload": {"name": "prompts", "options": {"requests": 0}}},
            "$.workload.options.requests",
            "0",
        ),
        ({"meters": [{"name": "pdu"}]}, "$.meters[0]", "alias"),
        ({"meters": [{"name": "plug"}]}, "$.meters[0]", "alias"),
        (
            {"meters": [{"name": "redfish", "alias": "a"}, {"name": "pdu", "alias": "b"}]},
            "$.meters",
            "twice",
        ),
        ({"meters": [{"name": "nvml"}, {"name": "nvml"}]}, "$.meters", "twice"),
        ({"primary_metric": "wall_energy_per_request"}, "$.primary_metric", "pdu"),
        *(
            ({"arrivals": {"kind": "constant", "rate": rate}}, "$.arrivals.rate", "run_s")
            for rate in (5e-324, 1e-300, 1e-9, 0.001)
        ),
        *(
            ({"arrivals": {"kind": "poisson", "seed": 1, "rate": rate}}, "$.arrivals.rate", "run_s")
            for rate in (5e-324, 1e-300, 1e-9, 0.001)
        ),
        *(
            ({"arrivals": {"kind": "trace", "times_s": times}}, "$.arrivals.times_s", word)
            for times, word in (
                ([0.0, 1.0], "2 times for"),
                ([0.0] * 5, "5 times for"),
                ([0.0, 2.0, 1.0, 3.0], "ascending"),
                ([0.0, 1.0, 2.0, 1e300], "run_s"),
            )
        ),
        (
            {
                "runtime": {"name": "llama-cpp-python"},
                "arrivals": {"kind": "closed", "concurrency": 4},
            },
            "$.arrivals.concurrency",
            "one",
        ),
    ],
)
def test_what_a_schema_cannot_say(change: dict[str, Any], path: str, word: str) -> None:
    listed = problems(changed(**change))
    assert path in listed, listed
    assert word in listed[path]


# What each kind of arrivals needs; it refuses what only others have.
NEEDED = {
    "closed": {},
    "constant": {"rate": 2},
    "poisson": {"rate": 2, "seed": 1},
    "gamma": {"rate": 2, "seed": 1, "shape": 0.5},
    "bursts": {"rate": 2, "burst": 4},
    "trace": {"times_s": [0, 1, 2, 3]},
}


@pytest.mark.parametrize("kind", NEEDED)
def test_arrivals_have_the_fields_of_their_kind(kind: str) -> None:
    needed = NEEDED[kind]
    assert problems(changed(arrivals={"kind": kind, "concurrency": 3, **needed})) == {}
    for name in needed:
        lacking = {k: v for k, v in needed.items() if k != name}
        listed = problems(changed(arrivals={"kind": kind, **lacking}))
        assert list(listed) == ["$.arrivals"] and f'the key "{name}" is missing' in str(listed)
    for name, value in {k: v for one in NEEDED.values() for k, v in one.items()}.items():
        if name not in needed:
            listed = problems(changed(arrivals={"kind": kind, **needed, name: value}))
            assert list(listed) == [f"$.arrivals.{name}"], listed
            assert "not allowed here" in listed[f"$.arrivals.{name}"]


def test_a_wrong_kind_of_arrivals_is_one_problem_and_a_missing_key_says_what_to_write() -> None:
    listed = problems(changed(arrivals={"kind": "poison", "rate": 2, "seed": 1}))
    assert list(listed) == ["$.arrivals.kind"] and "poisson" in listed["$.arrivals.kind"]
    listed = problems(changed(arrivals={"kind": "poisson", "rate": 2}))
    assert 'add "seed": a whole number, at least 0, at most 4294967295' in listed["$.arrivals"]


def test_a_long_list_of_wrong_values_is_refused_soon() -> None:
    faults = spec.problems(changed(arrivals={"kind": "trace", "times_s": ["x"] * 100_000}))
    assert [p.path for p in faults] == [f"$.arrivals.times_s[{n}]" for n in range(100)]


def test_every_request_of_a_workload_can_be_sent_in_one_burst() -> None:
    most = workloads.get("prompts").options_schema["properties"]["requests"]["maximum"]
    assert problems(changed(arrivals={"kind": "bursts", "rate": 1, "burst": most})) == {}


def test_every_launch_waits_for_its_last_request() -> None:
    asked = changed(launches=3, limits={"run_s": 60})
    for last, refused in ((19, False), (21, True)):
        listed = problems({**asked, "arrivals": {"kind": "trace", "times_s": [0, 1, 2, last]}})
        assert ("$.arrivals.times_s" in listed) == refused


def test_the_least_duration_counts_the_wait_until_the_last_request() -> None:
    closed = spec.parse(json.dumps(changed()).encode())
    sent = {"kind": "trace", "times_s": [0, 1, 2, 7.5]}
    timed = spec.parse(json.dumps(changed(arrivals=sent)).encode())
    waits = 7.5 * closed.launches
    assert duration_s(timed) == pytest.approx(duration_s(closed) + waits)


@pytest.mark.parametrize("gpus", ["MIG-4c1b3f2e", ["MIG-4c1b3f2e", "MIG-4c1b3f2f"]])
def test_slices_of_a_gpu_are_refused_in_one_sentence(gpus: Any) -> None:
    listed = problems(changed(devices={"gpus": gpus}))
    assert list(listed) == ["$.devices.gpus"]
    assert "NVML measures the whole board" in listed["$.devices.gpus"]
    assert "nvidia-smi -mig 0" in listed["$.devices.gpus"]


def test_defaults_in_the_schema_and_in_the_records_agree() -> None:
    required = {k: QUICKSTART[k] for k in spec.schema()["required"]}
    filled = msgspec.convert(spec.filled(required), RunSpec, strict=False)
    least = msgspec.convert({**spec.filled(required), **required}, RunSpec, strict=False)
    by_records = RunSpec(
        schema=filled.schema,
        name=filled.name,
        runtime=filled.runtime,
        image=filled.image,
        weights=filled.weights,
        workload=filled.workload,
    )
    assert filled == msgspec.structs.replace(
        by_records, runtime=filled.runtime, workload=filled.workload
    )
    assert least.launches == filled.launches


def test_writing_a_default_out_changes_no_hash() -> None:
    explicit = changed(launches=3, limits={**QUICKSTART["limits"], "pids": 512})
    hashes = {
        spec.spec_hash(spec.parse(json.dumps(document).encode()))
        for document in (QUICKSTART, explicit)
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 1000, b'{"a":1,"a":2}'])
def test_what_is_not_json_is_one_error(data: bytes) -> None:
    with pytest.raises(UsageError):
        spec.parse(data)


def test_a_missing_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        spec.load(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from(sorted(QUICKSTART)), JSON)
def test_no_value_anywhere_gets_past_as_a_crash(key: str, value: object) -> None:
    try:
        spec.parse(json.dumps(changed(**{key: value})).encode())
    except (SpecInvalid, UsageError) as error:
        assert error.message


@pytest.mark.parametrize("path", sorted(resources.specs_dir().glob("*.json")), ids=lambda p: p.stem)
def test_a_sealed_spec_is_a_valid_spec_of_the_same_hash(path: Path) -> None:
    first = spec.load(path)
    again = spec.parse(json.dumps(spec.document(first)).encode())
    assert again == first
    assert spec.spec_hash(again) == spec.spec_hash(first)
