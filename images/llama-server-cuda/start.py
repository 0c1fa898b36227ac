#!/usr/bin/python3
"""Start llama-server with the CUDA libraries of NVIDIA's wheels, and nothing that varies.

What is given on the command line goes to llama-server as it is. Added to it: nothing is fitted to
the free memory of the moment, no prompt is kept in RAM for a later request, nothing is fetched.
"""

import os
import sys

HOME = "/opt/kit"
LIBRARIES = (f"{HOME}/lib", f"{HOME}/nvidia/cu13/lib")
ALWAYS = ("--fit", "off", "--cache-ram", "0", "--offline")

given = os.environ.get("LD_LIBRARY_PATH")  # some engines say so where they lay the GPU's driver
os.environ["LD_LIBRARY_PATH"] = ":".join([*LIBRARIES, *([given] if given else [])])
os.execv(f"{HOME}/bin/llama-server", ["llama-server", *sys.argv[1:], *ALWAYS])
