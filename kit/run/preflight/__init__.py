"""Preflight: Plan × host → findings, each ``ok``, ``warn`` or ``fail``, each with its remedy.

`gather` collects facts of the machine, `check` judges them (pure, so that every rule is tested
without its hardware). `examine` is preflight without a plan: `kit doctor`. A finding's code is
stable; a ``fail`` forbids the run, a ``warn`` is sealed with it.

Codes (the first word is the aspect; a bare aspect is ``ok``)::

    ENGINE    ENGINE_MISSING ENGINE_LIMITS           IMAGE    IMAGE_DIFFERENT
    WEIGHTS   WEIGHTS_MISSING WEIGHTS_SIZE           DISK     DISK_FULL DISK_LOW
              WEIGHTS_UNREADABLE, and those of `kit.machine.weights.naming`
    LICENCE   LICENCE_MISSING LICENCE_DIFFERS
    MEMORY    MEMORY_LIMIT MEMORY_LOW MEMORY_UNKNOWN SHM      SHM_TOO_LARGE SHM_LOW
    MODEL_HEADS
    CPUS      CPUS_SHARED CPUS_FEW CPUS_THREADS      PORT     PORT_TAKEN
    FREQUENCY FREQUENCY_GOVERNOR                     CLOCK    CLOCK_UNSYNCHRONISED
    LOAD      LOAD_HIGH LOAD_UNKNOWN                 RUNS     RUNS_OTHER RUNS_QUEUE
    METER     METER_ABSENT METER_SILENT RAPL_UNREADABLE PDU_IMPLAUSIBLE PDU_UNCALIBRATED,
              and NAME_UNREACHABLE of each meter with a section in host.toml
    ENERGY    ENERGY_ESTIMATED ENERGY_UNMEASURED     PRIMARY_UNMEASURED PRIMARY_ESTIMATED
    GPU       GPU_MISSING GPU_TOO_FEW GPU_UNLIKE GPU_ENGINE GPU_LOST GPU_VIRTUAL GPU_MIG
              GPU_PROHIBITED GPU_POWER_LIMIT GPU_SLOWED GPU_ECC GPU_ECC_OFF GPU_HOT GPU_WARM
              GPU_PERSISTENCE GPU_BUSY GPU_COUNTER GPU_MEMORY GPU_MEMORY_LIMIT GPU_MEMORY_LOW
    doctor    HOST_CONFIG HOST_CONFIG_OPEN PYTHON PYTHON_OLD GPU_DRIVER,
              and those of `kit.machine.images.check`
"""

from __future__ import annotations

from kit.run.preflight.doctor import examine, lacking_gpus
from kit.run.preflight.facts import gather
from kit.run.preflight.rules import check, run_bytes

__all__ = ["check", "examine", "gather", "lacking_gpus", "run_bytes"]
