"""What a terminal shows is what was said, whatever stands in it."""

import io

import pytest

from jaxlab import terminal

# Rich would take it for markup, and refuse to close what is not open.
FOLDER = "/courses/ada/[old]/[/x]/digits.npz"


@pytest.fixture
def screen(monkeypatch):
    said = io.StringIO()
    for name in ("out", "err"):
        console = terminal.Console(
            file=said, force_terminal=True, width=200, highlight=False, soft_wrap=True
        )
        monkeypatch.setattr(terminal, name, console)
    return said


def test_a_folder_in_brackets_is_shown_as_it_is(screen):
    terminal.table(FOLDER, [(FOLDER, FOLDER)])
    assert screen.getvalue().count(FOLDER) == 3
    terminal.say(FOLDER)
    terminal.warn(FOLDER)
    assert screen.getvalue().count(FOLDER) == 5


def test_so_is_one_beside_a_bar_and_a_spinner(screen, monkeypatch):
    with terminal.progress(FOLDER, 2) as advance:
        advance(note=FOLDER)
    assert FOLDER in screen.getvalue()
    screen.truncate(0)
    monkeypatch.setattr(terminal, "SECONDS_UNTIL_SPINNER", 0.0)
    with terminal.waiting(FOLDER):
        for _ in range(100):
            if FOLDER in screen.getvalue():
                return
            terminal.time.sleep(0.02)
    pytest.fail("no spinner")
