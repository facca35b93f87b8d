"""What a log file says of progress."""

from types import SimpleNamespace

import pytest

from dobby_dagster.cli.progress_bars import progress


def test_the_time_left_is_that_of_the_speed_since_the_first_item(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("dobby_dagster.cli.progress_bars.time", SimpleNamespace(monotonic=lambda: now[0]))
    with progress("Summarising", 100) as advance:
        for seconds, count in ((20, 1), (30, 10), (40, 89)):
            now[0] = seconds
            advance(count)
    assert capsys.readouterr().err.splitlines() == [
        "Summarising: 1 of 100 (1%), 3/min",
        "Summarising: 11 of 100 (11%), 22/min, 0:01:29 left",
        "Summarising: 100 of 100 (100%), 150/min",
    ]
