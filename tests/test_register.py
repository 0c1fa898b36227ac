"""host.toml is changed by one folder, and by nothing else."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

from kit.core.errors import UsageError
from kit.machine.host import HostConfig, register

SECRET = '[pdu.rack1]\nhost = "192.0.2.1"\nprofile = "apc-rpdu2"\ncommunity = "x"\n'


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "etc" / "host.toml"
    monkeypatch.setenv("KIT_HOST_CONFIG", str(path))
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / 'my "models"').mkdir()
    return tmp_path / 'my "models"'


@pytest.mark.parametrize(
    "before",
    [
        "",
        "# mine\n",
        f"{SECRET}# the end, without a line feed",
        "[weights]",
        "[weights]\n\n[store]\nruns = 'r' # here\n",
        "[ weights ] # folders = [\n# folders = ['no']\nfolders = []\n",
        "[weights]\nfolders = ['/a', \"/b]\"] # two\n[store]\nruns = 'r'\n",
        "[weights]\nfolders = [\n  '/a', # first ]\n  '/b' # last, and \"\n]\n",
        "[weights]\nfolders = [\n  '/a',\n  # none more\n]\n",
        "[weights]\r\nfolders = ['/a']\r\n",
        "[weights]\r\n[store]\r\n",
        "[codecarbon]\ncountry = 'NLD'\n[weights]\nfolders=['''/a''',\"\"\"/b\"\"\"]",
        "\ufeff[weights]\nfolders = ['/a']\n",
    ],
)
def test_one_folder_more_and_all_else_as_it_was(config: Path, models: Path, before: str) -> None:
    config.parent.mkdir()
    config.write_bytes(before.encode())
    config.chmod(0o640)
    assert register.add_folder(models) == config
    after = config.read_bytes().decode()
    wanted = tomllib.loads(before.lstrip("\ufeff"))
    said = wanted.setdefault("weights", {})
    said["folders"] = [*said.get("folders", []), str(models)]
    assert tomllib.loads(after) == wanted
    lines = [line for line in before.lstrip("\ufeff").splitlines() if "#" in line]
    assert all(line.partition("#")[2] in after for line in lines), "a comment is lost"
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert HostConfig.load().weights_folders[-1] == models
    again = config.read_bytes()
    register.add_folder(models)
    assert config.read_bytes() == again, "a folder is registered once"
    assert [path.name for path in config.parent.iterdir()] == ["host.toml"]


def test_a_new_file_is_its_owners_alone(config: Path, models: Path) -> None:
    assert not register.is_registered(models)
    register.add_folder(models)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert register.is_registered(models)


@pytest.mark.parametrize(
    ("before", "remedy"),
    [
        ("weights = {folders = ['/a']}\n", "by hand"),
        ("weights.folders = ['/a']\n", "by hand"),
        ("[weights]\nfolders = 'a'\n", "docs/host.md"),
        ("[weights\n", "docs/host.md"),
        ("[nonsense]\n", "docs/host.md"),
    ],
)
def test_what_cannot_be_changed_stays(config: Path, models: Path, before: str, remedy: str) -> None:
    config.parent.mkdir()
    config.write_text(before)
    with pytest.raises(UsageError) as caught:
        register.add_folder(models)
    assert remedy in caught.value.remedy
    assert config.read_text() == before


def test_a_link_stays_a_link(config: Path, models: Path, tmp_path: Path) -> None:
    config.parent.mkdir()
    (tmp_path / "real.toml").write_text("# mine\n")
    config.symlink_to(tmp_path / "real.toml")
    register.add_folder(models)
    assert config.is_symlink() and register.is_registered(models)


def test_a_folder_that_no_text_can_name(config: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not UTF-8"):
        register.add_folder(tmp_path / "\udcff")
    assert not config.exists()


def test_a_place_that_cannot_be_written(config: Path, models: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file in the folder's place")
    with pytest.raises(UsageError, match="cannot write"):
        register.write(config, "")
