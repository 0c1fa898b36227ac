"""Say whether a container engine can be used, the way kit itself would find it.

Exit 0: yes. 10: none answers at the default socket. 11: one is there, but this user may not
speak to it. 12: what the person named (DOCKER_HOST or a docker context) does not work.
"""

from __future__ import annotations

import os
import sys

from kit.core.errors import KitError
from kit.machine import containers
from kit.machine.containers import endpoint


def main() -> int:
    source = "named by the person, wrongly"
    try:
        address = endpoint.find(os.environ)
        source = address.source
        containers.connect()
    except KitError as error:
        print(error.message, file=sys.stderr)
        if source != "default":
            print(error.remedy, file=sys.stderr)
            return 12
        return 11 if isinstance(error.__cause__, PermissionError) else 10
    print(f"a container engine answers at {address.path}", file=sys.stderr)
    return 0


sys.exit(main())
