"""kit: a containerised reproducibility kit for the energy of LLM inference.

Read the file names downwards to follow the data: ``spec`` → ``plan`` → ``preflight`` →
``launch`` → ``drive`` + ``sample`` + ``measure`` → ``energy`` → ``results`` → ``seal`` →
``verify`` → ``replay`` → ``report``. ``engine.run`` is the journey up to the seal.
"""

__version__ = "0.1.0"
