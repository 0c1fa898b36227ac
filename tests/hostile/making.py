"""A wheel of the package ``evil``, as a build backend leaves it."""

import os
import zipfile

TAGS = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"


def wheel(out, files, name="evil-1.0-py3-none-any.whl"):
    with zipfile.ZipFile(os.path.join(out, name), "w") as archive:
        archive.writestr("evil-1.0.dist-info/WHEEL", TAGS)
        archive.writestr("evil-1.0.dist-info/METADATA", "Name: evil\nVersion: 1.0\n")
        archive.writestr("evil-1.0.dist-info/RECORD", "".join(f"{n},,\n" for n in files))
        for n, data in files.items():
            archive.writestr(n, data)
    return name
