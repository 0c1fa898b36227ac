"""A container as a `docker run` command line, to read and to repeat."""

from __future__ import annotations

from kit.machine.containers import LOG_DRIVER, LOG_LIMITS, TMPFS, ContainerConfig


def command_line(config: ContainerConfig) -> tuple[str, ...]:
    """The `docker run` command line that makes the same container as `Engine.create`."""
    words = ["docker", "run", "--detach", f"--name={config.name}", "--hostname=kit", "--init"]
    words += ["--user=65534:65534", "--read-only", "--cap-drop=ALL"]
    words += ["--security-opt=no-new-privileges", "--tmpfs=" + ":".join(*TMPFS.items())]
    words += [f"--network={config.network}", f"--cpuset-cpus={config.cpus}"]
    words += [f"--memory={config.memory_bytes}", f"--memory-swap={config.memory_bytes}"]
    words += [f"--shm-size={config.shm_bytes}", "--ipc=private", f"--pids-limit={config.pids}"]
    words += [f"--publish=127.0.0.1::{config.publish}"] if config.publish else []
    words += _gpu_words(config)
    words += ["--no-healthcheck", f"--log-driver={LOG_DRIVER}"]
    words += [f"--log-opt={key}={value}" for key, value in LOG_LIMITS.items()]
    words += [f"--label={key}={value}" for key, value in config.labels.items()]
    words += [f"--env={key}={value}" for key, value in config.env.items()]
    for target, path in sorted(config.mounts.items()):
        words.append(f"--mount=type=bind,src={path.resolve()},dst={target},readonly")
    return (*words, config.image, *config.argv)


def _gpu_words(config: ContainerConfig) -> list[str]:
    ids = config.gpu_ids
    if config.gpu_driver == "cdi":
        return [f"--device={name}" for name in ids]
    return [f'--gpus="device={",".join(ids)}"'] if ids else []
