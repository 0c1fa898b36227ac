"""Plans of tests: the parts that hardly any of them is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kit.core.facts import QuantityFacts
from kit.core.model import ImageIdentity, LaunchPlan, Plan


def facts_in(quantities: Mapping[str, Any]) -> dict[str, QuantityFacts]:
    """The facts of quantities that are written as in ``plan.json``, or are records already."""
    return msgspec.convert(dict(quantities), dict[str, QuantityFacts])


def launch_plan(**changes: Any) -> LaunchPlan:
    """How a container is started: alone, with little memory, unless ``changes`` say otherwise."""
    values: dict[str, Any] = {
        "argv": (),
        "env": {},
        "port": 8080,
        "mounts": (),
        "network": "internal",
        "egress": "none",
        "runtime_cpus": "0",
        "driver_cpus": "0",
        "sampler_cpus": "0",
        "memory_bytes": 1 << 30,
        "shm_bytes": 64 << 20,
        "pids": 64,
    }
    return LaunchPlan(**(values | changes))


def plan_of(image: ImageIdentity, launch: LaunchPlan, **changes: Any) -> Plan:
    """A plan of one launch of ``image``, which is pinned, with no meter and no request."""
    values: dict[str, Any] = {
        "schema": "kit.plan/1",
        "spec_hash": "0" * 64,
        "kit_version": "0",
        "image": image,
        "image_pinned": image.image_id,
        "image_match": "identical",
        "model": None,
        "launch": launch,
        "meters": (),
        "schedule_sha256": "0" * 64,
        "requests": 0,
        "launches": 1,
    }
    return Plan(**(values | changes))
