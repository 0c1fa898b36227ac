"""kit: a containerised reproducibility kit for the energy of LLM inference.

Its packages are the stations of one journey: ``spec`` (what a person asks for) → ``run`` (plan,
preflight, launches, on this ``machine``) → ``measure`` → ``record`` → ``energy`` → ``store``
(seal) → ``judge`` (verify, compare, replay) → ``show``, drawn by the two faces ``cli`` and
``tui``. All stand on ``core``. `kit.run.runner` is the journey up to the seal.
"""

__version__ = "0.1.0"
