"""Numbers about PDUs that cannot be: out of host.toml, calibrations, profiles, and from the PDU."""

from __future__ import annotations

import pytest

from kit.meters import get
from kit.meters.pdu import snmp
from tests.meters.conftest import OUTLET, Agent

# --- what a PDU says where it meters nothing --------------------------------------------------


@pytest.mark.parametrize("raw", [2**32 - 1, 2**31 - 1])
def test_the_largest_number_is_not_supported_rather_than_4_gw(agent: Agent, raw: int) -> None:
    """−1 read as unsigned, and what a MIB without negative numbers has instead."""
    agent.set({f"{OUTLET}.7.3": {"type": "gauge", "value": raw}})
    plan = get("pdu").probe("rack1", agent.config())
    assert plan.devices == ()
    assert "does not meter this" in plan.reason


def test_a_counter_may_pass_any_number() -> None:
    from pysnmp.proto import rfc1902

    for raw in (2**32 - 1, 2**31 - 1):
        assert snmp.answer_of(rfc1902.Gauge32(raw)) == (snmp.UNSUPPORTED, None)
        assert snmp.answer_of(rfc1902.Counter32(raw)) == (0, raw)
        assert snmp.answer_of(rfc1902.TimeTicks(raw)) == (0, raw)
    assert snmp.answer_of(rfc1902.Gauge32(2**31)) == (0, 2**31)
    assert snmp.answer_of(rfc1902.Integer32(2**31 - 1)) == (snmp.UNSUPPORTED, None)
