"""From a spec to a sealed run: plan, preflight, launches, the gate, and the runner."""
