"""A spec that begins with a model of one's own: picked, hashed, its folder registered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kit.spec import models
from kit.spec.models import Begun
from kit.tui.dialogs import YesNo
from kit.tui.form.picker import Hashing, ModelPicker
from kit.tui.screen import KitScreen


def ask_own(
    screen: KitScreen, chosen: Callable[[str], None], *, again: Callable[[], None], at: Path
) -> None:
    """Ask for a model; ``chosen`` gets the text of its spec, ``again`` goes back.

    Args:
        at: the folder in which the picker begins.
    """

    def picked(name: str | None) -> None:
        if name is None:
            again()
            return
        window = Hashing(name)
        folder = at if name.startswith("hf:") else Path(name).parent

        def hashed(_: str | None) -> None:
            if window.begun:
                _ask_registered(screen, window.begun, chosen)
                return
            if window.error:
                screen.show_error(window.error)
            ask_own(screen, chosen, again=again, at=folder)

        screen.app.push_screen(window, hashed)

    screen.app.push_screen(ModelPicker(at), picked)


def _ask_registered(screen: KitScreen, begun: Begun, chosen: Callable[[str], None]) -> None:
    """Ask whether to register the folder, if it is not; then open the spec, whatever the answer."""

    def opened() -> None:
        chosen(begun.text)
        for warning in begun.warnings:
            screen.notify(warning, severity="warning", timeout=12, markup=False)

    def answered(yes: bool | None) -> None:
        if not yes:
            screen.notify(
                f"not registered: a run will not find the model until {begun.folder} is under "
                "[weights] in host.toml",
                severity="warning",
                markup=False,
            )
            opened()
            return

        def registered(path: Path) -> None:
            screen.notify(f"the folder is registered in {path}", markup=False)
            opened()

        def failed(error: Exception) -> None:
            screen.show_error(error)
            opened()

        screen.fetch(
            lambda: models.registered(begun.folder), registered, group="register", failed=failed
        )

    if begun.is_registered:
        opened()
        return
    question = (
        f"Runs look for models in the folders that host.toml lists.\nRegister {begun.folder}\n"
        f"in {models.host_file()}?"
    )
    screen.app.push_screen(YesNo(question, "Register", "Not now"), answered)
