"""A container as a `docker run` command line, to read and to repeat."""

from __future__ import annotations

from kit.machine.containers import (
    LOG_DRIVER,
    ContainerConfig,
    environment,
    log_limits,
    tmpfs,
)


def command_line(config: ContainerConfig) -> tuple[str, ...]:
    """The `docker run` command line that makes the same container as `Engine.create`."""
    argv = ["docker", "run", "--detach", f"--name={config.name}", "--hostname=kit", "--init"]
    argv += ["--user=65534:65534", "--read-only", "--cap-drop=ALL"]
    argv += ["--security-opt=no-new-privileges"]
    argv += [f"--tmpfs={folder}:{options}" for folder, options in tmpfs(config).items()]
    argv += [f"--network={config.network}", f"--cpuset-cpus={config.cpus}"]
    argv += [f"--memory={config.memory_bytes}", f"--memory-swap={config.memory_bytes}"]
    argv += [f"--shm-size={config.shm_bytes}", "--ipc=private", f"--pids-limit={config.pids}"]
    argv += [f"--publish=127.0.0.1::{config.publish}"] if config.publish else []
    argv += _gpu_arguments(config)
    argv += ["--no-healthcheck", f"--log-driver={LOG_DRIVER}"]
    argv += [f"--log-opt={key}={value}" for key, value in log_limits(config).items()]
    argv += [f"--label={key}={value}" for key, value in config.labels.items()]
    argv += [f"--env={key}={value}" for key, value in environment(config).items()]
    for target, path in sorted(config.mounts.items()):
        argv.append(f"--mount=type=bind,src={path.resolve()},dst={target},readonly")
    return (*argv, config.image, *config.argv)


def _gpu_arguments(config: ContainerConfig) -> list[str]:
    ids = config.gpu_ids
    if config.gpu_driver == "cdi":
        return [f"--device={name}" for name in ids]
    return [f'--gpus="device={",".join(ids)}"'] if ids else []
