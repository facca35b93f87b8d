"""Text that acts on a terminal or hides something, settings that are wrong, and how to see that neither does harm."""

from __future__ import annotations

import unicodedata

HOSTILE = {
    "escape": "\x1b]0;PWNED\x07\x1b[31mkey\x1b[2J",
    "8-bit control": "\x9b31mred\x85",
    "bidirectional": "\u202egpj.exe\u2066",
    "zero width": "a\u200b\u200d\ufeff\u2060b\u3164\ufe0f\U000e0041",
    "lines": "a\r\nerror: forged\u2028b\x0b\x0c",
    "surrogate": "\udcff\ud800",
    "markup": "[bold red]x[/] [link=http://evil.test]y[/link] :bomb:",
}
LONG = "a" * 300
# Settings in the environment; the files that they name are made by the tests.
ENVIRONMENTS: list[dict[str, str]] = [
    {"DOBBY_CONFIG": value} for value in ("/dev/null", "/dev/zero", LONG, "deep.toml", "binary", ".", "nosuch", "latin.toml", "~nosuch/x")
] + [
    {"DAGSTER_HOME": value} for value in ("binary", LONG, "relative", "~nosuch/x", "/dev/null/x", "/proc/x", "")
] + [
    {name: value}
    for name in ("DOBBY_INFERENCE_SLOTS", "DOBBY_DATABASE_LEASE_TIMEOUT_SECONDS", "DOBBY_AUTOMATION_STALE_SECONDS")
    for value in ("nan", "inf", "1e400", "-1", "", "x\x1b[31m", "9" * 5_000)
] + [
    {"DOBBY_NOSUCH": "1"}, {"DOBBY_X\x1b[31m": "1"}, {"DOBBY_AUTOMATION_ALERT_COMMAND": ","}, {"DOBBY_AUTOMATION_ALERT_WEBHOOK": "http://["},
    {"DOBBY_MODEL_URL": "http://[::1", "DOBBY_MODEL_SERVED_NAME": "x"}, {"DOBBY_MODEL_URL": "http://127.0.0.1:1/v1"},
    {"DOBBY_DATABASE_AUTH": "\u00fc", "DATABASE_URL": "http://127.0.0.1:1"}, {"MODEL_PATH": ""}, {"DATABASE_URL": "\x1b[31m"},
    {"COLUMNS": "1"}, {"COLUMNS": "-5"}, {"HOME": "/nosuch"}, {"TERM": "xterm\x1b"}, {"DOBBY_DAGSTER_HOME": "binary"},
    {"DOBBY_PROMPT_FILE": "deep.toml"}, {"DOBBY_AUTOMATION_BACKUP_FOLDER": LONG}, {"TMPDIR": "/nosuch"}, {"PATH": ""},
]  # fmt: skip


def invisible(text: str, allowed: str = "") -> set[str]:
    """Characters by which ``text`` could act on a terminal or hide something."""
    return {
        c for c in text if c not in allowed and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    }
