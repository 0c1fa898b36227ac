"""A backend that tries what a hostile one would try first; its wheel says what it reached."""

import ctypes
import glob
import json
import os
import signal
import socket

from backend.making import wheel


def attempt(action):
    try:
        result = action()
        return "reached" if result is None else result
    except BaseException as error:
        return f"refused: {type(error).__name__}"


def connect(family, address):
    with socket.socket(family) as s:
        s.settimeout(3)
        s.connect(address)
        return "reached"


def everywhere(word):
    paths = []
    for top, folders, files in os.walk("/"):
        folders[:] = [f for f in folders if (top, f) not in (("/", "sys"), ("/", "proc"))]
        paths += [os.path.join(top, f) for f in files if word in f]
    return paths


def write(path):
    return attempt(lambda: open(path, "w").write("x") and None)


def kill():
    os.kill(1, signal.SIGKILL)
    return open("/proc/1/mem", "rb").read(1)


def status():
    wanted = ("Cap", "NoNew", "Seccomp:")
    return [line for line in open("/proc/self/status") if line.startswith(wanted)]


def processes():
    names = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            names.append(open(path).read().replace(chr(0), " "))
        except OSError:
            pass
    return names


def build_wheel(out, settings=None, metadata=None):
    options = json.load(open(os.path.join(os.path.dirname(__file__), "told.json")))
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name, *args):
        if getattr(libc, name)(*args):
            raise OSError(ctypes.get_errno(), name)

    gateways = ["127.0.0.1", "172.17.0.1", "host.docker.internal", "10.0.0.1"]
    report = {
        "canary file": attempt(lambda: open(options["file"]).read()),
        "through a process's root": attempt(lambda: open("/proc/1/root" + options["file"]).read()),
        "canary names": everywhere(options["name"]),
        "processes": processes(),
        "unix socket": attempt(lambda: connect(socket.AF_UNIX, options["socket"])),
        "abstract socket": attempt(lambda: connect(socket.AF_UNIX, chr(0) + options["abstract"])),
        "engine": attempt(lambda: connect(socket.AF_UNIX, "/var/run/docker.sock")),
        **{
            f"port at {g}": attempt(lambda: connect(socket.AF_INET, (g, options["port"])))
            for g in gateways
        },
        "a name": attempt(lambda: socket.getaddrinfo("debian.example", 80) and None),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "uid": os.getuid(),
        "become root": attempt(lambda: os.setuid(0)),
        "write to the root": write("/canary"),
        "write to /etc": write("/etc/canary"),
        "write to /kit": write("/kit/canary"),
        "a device": attempt(lambda: os.mknod("/tmp/sda", 0o60666, os.makedev(8, 0))),
        "mount": attempt(lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None)),
        "namespace": attempt(lambda: call("unshare", 0x10000000)),
        "kill all": attempt(kill),
        "kernel settings": write("/proc/sys/kernel/hostname"),
        "kernel memory": attempt(lambda: open("/dev/mem", "rb").read(1) and None),
        "status": status(),
    }
    print("noise on stdout must not spoil the wheel", flush=True)
    os.write(1, b"more noise\n")
    return wheel(out, {"evil.json": json.dumps(report)})
