"""HTTP's digest authentication (RFC 7616): the answer to a challenge, without the password in it.

The standard library's knows no SHA-256, which is what Shelly's second generation asks for.
"""

from __future__ import annotations

import hashlib
import re
import secrets

_FIELD = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_HASHES = {"MD5": "md5", "SHA-256": "sha256"}


def answer(challenge: str, method: str, path: str, user: str, password: str) -> str | None:
    """The header ``Authorization`` to a ``WWW-Authenticate``; None where that is no digest."""
    if not challenge.lower().startswith("digest "):
        return None
    parameters = {
        key.lower(): quoted or unquoted for key, quoted, unquoted in _FIELD.findall(challenge)
    }
    algorithm = parameters.get("algorithm", "MD5").upper()
    if algorithm not in _HASHES or not {"realm", "nonce"} <= set(parameters):
        return None
    if "qop" in parameters and "auth" not in re.split(r"[\s,]+", parameters["qop"]):
        return None

    def hashed(*parts: str) -> str:
        text = ":".join(parts).encode()
        return hashlib.new(_HASHES[algorithm], text, usedforsecurity=False).hexdigest()

    count, own = "00000001", secrets.token_hex(8)
    who, what = hashed(user, parameters["realm"], password), hashed(method, path)
    quoted_user = user.replace("\\", "\\\\").replace('"', '\\"')
    fields = {
        "username": quoted_user,
        "realm": parameters["realm"],
        "nonce": parameters["nonce"],
        "uri": path,
    }
    if "qop" in parameters:
        fields["response"] = hashed(who, parameters["nonce"], count, own, "auth", what)
        fields["cnonce"] = own
    else:
        fields["response"] = hashed(who, parameters["nonce"], what)
    if "opaque" in parameters:
        fields["opaque"] = parameters["opaque"]
    text = ", ".join(f'{key}="{value}"' for key, value in fields.items())
    plain = f", algorithm={algorithm}" + (f", qop=auth, nc={count}" if "qop" in parameters else "")
    return f"Digest {text}{plain}"
