"""What the hub says of a model: its commit, its files with sizes and hashes, its licence.

The one module that asks the hub for more than a file's bytes. The dialogue is that of the hub's
documentation: ``GET /api/models/REPO/revision/REVISION?blobs=true``. Large files come with their
SHA-256; the others are small, and fetched to be hashed. An answer may be anyone's: its size and
every name, size and hash in it are checked, and no redirect leads to another host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from kit.core import jsonio
from kit.core.errors import WeightsUnavailable
from kit.core.text import clean
from kit.machine.weights import fetch, hub
from kit.machine.weights.source import HUB_MODEL

_MOST_BYTES = 16 << 20  # of a listing, and of a file that is fetched to be hashed
_TIMEOUT_S = 60
_GATED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_ -]{0,199}")
_TAG = "license:"
_AGAIN = "try again later, or check $HF_ENDPOINT: no hub answers like this"


class Listed(NamedTuple):
    """A file of a repository: bytes, and its SHA-256 where the hub gives one (else empty)."""

    size: int
    sha256: str


class Listing(NamedTuple):
    """A repository at a commit. ``files`` are those that lie in it or in a folder of it, by path;
    what lies deeper is no model's."""

    repo: str
    commit: str
    licence: str
    files: dict[str, Listed]


def listing(repo: str, revision: str) -> Listing:
    """What the hub lists for a repository at a revision: a branch, a tag or a commit.

    Raises:
        WeightsUnavailable: the hub cannot be reached, has no such model or does not show it, or
            gives an answer that cannot be true.
    """
    parts = HUB_MODEL.fullmatch(f"hf:{repo}")
    if not parts or parts["origin"] != repo:
        raise WeightsUnavailable(
            f"{repo!a} is no repository of the hub", "write weights.repo as ORG/REPO"
        )
    data = _get(f"/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true", repo)
    try:
        answer = jsonio.parse(data, "the answer", any_integer=True)
    except jsonio.JsonRefused as error:
        raise _odd(repo, f"what {error.what}") from error
    if not isinstance(answer, dict):
        raise _odd(repo, "no JSON object")
    return _checked(repo, answer)


def content(listed: Listing, name: str) -> bytes:
    """The bytes of one of its small files.

    Raises:
        WeightsUnavailable: it cannot be fetched, or has another size than is listed.
    """
    size = listed.files[name].size
    if size > _MOST_BYTES:
        raise _odd(listed.repo, f"no SHA-256 for {name}, which is too large to be fetched for it")
    path = f"/{listed.repo}/resolve/{listed.commit}/{quote(name)}"
    data = _get(path, f"{name} of {listed.repo}")
    if len(data) != size:
        raise _odd(listed.repo, f"{len(data)} bytes of {name}, and lists {size}")
    return data


# --- an answer ------------------------------------------------------------------------------------


def _checked(repo: str, answer: Mapping[str, Any]) -> Listing:
    named = answer.get("id")
    if named != repo:
        raise WeightsUnavailable(
            f"asked for {repo}, the hub answers with {clean(str(named))[:80]!a}",
            "write that into weights.repo if it is the model that you mean",
        )
    commit, siblings = answer.get("sha"), answer.get("siblings")
    if not isinstance(commit, str) or not hub.is_commit(commit):
        raise _odd(repo, "no commit")
    if not isinstance(siblings, list) or not all(isinstance(one, dict) for one in siblings):
        raise _odd(repo, "no list of files")
    files = {str(one.get("rfilename")): _file(repo, one) for one in siblings}
    if len(files) != len(siblings):
        raise _odd(repo, "one file twice")
    return Listing(
        repo, commit, _licence(answer), {n: f for n, f in files.items() if n.count("/") < 2}
    )


def _file(repo: str, sibling: Mapping[str, Any]) -> Listed:
    name, size, large = sibling.get("rfilename"), sibling.get("size"), sibling.get("lfs")
    if not isinstance(name, str) or name.startswith("/") or ".." in re.split(r"[/\\]", name):
        raise _odd(repo, f"a file outside of the model: {clean(str(name))[:80]!a}")
    if type(size) is not int or not 0 <= size <= jsonio.MAX_SAFE_INTEGER:
        raise _odd(repo, f"no size of {clean(name)[:80]!a}")
    if large is None:
        return Listed(size, "")
    # Its repository's listing calls the hash sha256, its listing of a folder oid.
    sha256 = large.get("sha256", large.get("oid")) if isinstance(large, dict) else None
    if not isinstance(sha256, str) or not jsonio.is_sha256(sha256):
        raise _odd(repo, f"no SHA-256 of {clean(name)[:80]!a}")
    if large.get("size", size) != size:
        raise _odd(repo, f"two sizes of {clean(name)[:80]!a}")
    return Listed(size, sha256)


def _licence(answer: Mapping[str, Any]) -> str:
    """The licence of the model card, else of the tags; its own name where it is "other"."""
    card, tags = answer.get("cardData"), answer.get("tags")
    named = card.get("license") if isinstance(card, dict) else None
    if named == "other" and isinstance(card, dict):
        named = card.get("license_name", named)
    if not isinstance(named, str):
        listed = tags if isinstance(tags, list) else []
        named = next((t[len(_TAG) :] for t in listed if str(t).startswith(_TAG)), "")
    return named if _LICENCE.fullmatch(named) else ""


def _odd(repo: str, what: str) -> WeightsUnavailable:
    return WeightsUnavailable(f"the hub's answer about {repo} cannot be: it gives {what}", _AGAIN)


# --- HTTP -----------------------------------------------------------------------------------------


def _get(path: str, what: str) -> bytes:
    """The body under the hub's ``path``; ``what`` is asked for, in words.

    Raises:
        WeightsUnavailable: there is none, it is too large, or lies on another host.
    """
    import http.client
    import urllib.error
    import urllib.request

    endpoint = fetch.hub_endpoint()

    class Here(urllib.request.HTTPRedirectHandler):
        """Redirects within the hub; the person's token goes nowhere else."""

        def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
            if urlsplit(arguments[-1])[:2] != urlsplit(endpoint)[:2]:
                raise WeightsUnavailable(
                    f"asked for {what}, the hub sends to another host",
                    "check $HF_ENDPOINT: what the hub itself says is pinned, and nothing else",
                )
            return super().redirect_request(*arguments)

    try:
        request = fetch.hub_request(endpoint + path)
        with urllib.request.build_opener(Here).open(request, timeout=_TIMEOUT_S) as answer:
            data: bytes = answer.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise _refused(error.code, what) from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise WeightsUnavailable(
            f"the hub at {endpoint} cannot be asked for {what}: {getattr(error, 'reason', error)}",
            "pin on a machine that is connected, and check $HF_ENDPOINT there; the spec can then "
            "be taken anywhere",
        ) from error
    if len(data) > _MOST_BYTES:
        raise _odd(what, f"more than {_MOST_BYTES >> 20} MiB")
    return data


def _refused(code: int, what: str) -> WeightsUnavailable:
    if code in _GATED:
        return WeightsUnavailable(
            f"the hub does not show {what} (HTTP {code}): it is gated, private, or not there",
            "accept its terms on its page, set $HF_TOKEN, and check the name",
        )
    if code == HTTPStatus.NOT_FOUND:
        return WeightsUnavailable(
            f"the hub has no {what} at this revision (HTTP {code})",
            "check weights.repo and weights.revision",
        )
    return WeightsUnavailable(f"asked for {what}, the hub answers with HTTP {code}", _AGAIN)
