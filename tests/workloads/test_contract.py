"""What every registered workload must be; third parties' too, once they are installed."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from kit.core.errors import UsageError
from kit.spec import workloads
from kit.spec.workloads import Workload


@pytest.fixture(params=workloads.names())
def workload(request: pytest.FixtureRequest) -> Workload:
    return workloads.get(request.param)


def defaults(workload: Workload) -> dict[str, Any]:
    return {n: p["default"] for n, p in workload.options_schema["properties"].items()}


def test_it_is_registered_under_its_own_name(workload: Workload) -> None:
    assert workload.name in workloads.names()
    assert workload.title


def test_its_options_are_a_closed_schema_good_enough_for_a_form(workload: Workload) -> None:
    schema = workload.options_schema
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    for name, option in schema["properties"].items():
        assert option["description"], name
        jsonschema.validate(option["default"], option)
        for example in option.get("examples", ()):
            jsonschema.validate(example, option)


def test_its_defaults_give_work_that_does_not_change(workload: Workload) -> None:
    options = defaults(workload)
    jsonschema.validate(options, workload.options_schema)
    first, again = workload.prompts(options), workload.prompts(options)
    assert first and first == again
    for prompt in first:
        assert prompt.item and prompt.text
        assert (prompt.picture is None) == (workloads.makes(workload.name) == "text")
        wanted = prompt.max_tokens if prompt.picture is None else prompt.picture.images
        assert wanted > 0


def test_it_gives_as_many_warm_ups_as_asked_for(workload: Workload) -> None:
    options = defaults(workload)
    assert [len(workload.prompts(options, n)) for n in (0, 1, 50)] == [0, 1, 50]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        workloads.get("juggling")
    assert "prompts" in caught.value.remedy
