"""Logs, made of what real code writes to them, with a sentence that says whose they are and what went wrong."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator

from training.corpus.kinds import words
from training.corpus.kinds.found import listed, stated
from training.corpus.kinds.harvest import Harvest
from training.corpus.pair import Pair

Entry = tuple[str, str]
SEVERE = ("error", "critical", "exception")
DAEMONS = {
    "sshd": ("Failed password for {name} from 10.0.{n}.{n} port 4{n}22 ssh2", "Accepted publickey for {name} from 10.0.{n}.{n} port 5{n}22 ssh2", "Connection closed by 10.0.{n}.{n}"),
    "kernel": ("Out of memory: Killed process {n}13 ({command})", "eth0: link up", "usb 1-{n}: new high-speed USB device", "EXT4-fs (sda1): mounted filesystem"),
    "systemd": ("Started {service}.service.", "{service}.service: Failed with result 'exit-code'.", "Stopped {service}.service.", "Reloading {service}.service."),
    "cron": ("({name}) CMD (/usr/local/bin/{verb}.sh)", "(root) CMD (run-parts /etc/cron.daily)", "({name}) RELOAD (crontabs/{name})"),
    "postfix": ("connect from mail.example.com", "status=sent (250 ok)", "warning: hostname does not resolve", "lost connection after EHLO"),
    "dhclient": ("DHCPREQUEST for 10.0.{n}.{n} on eth0", "DHCPACK of 10.0.{n}.{n}", "bound to 10.0.{n}.{n}"),
}  # fmt: skip
TOOLS = {
    "npm": ("npm warn deprecated {package}@{n}.0.0", "added {n}1 packages in {n}s", "npm error code ERESOLVE", "found 0 vulnerabilities"),
    "pip": ("Collecting {library}", "  Downloading {library}-{n}.0.0-py3-none-any.whl", "Successfully installed {library}-{n}.0.0", "ERROR: No matching distribution found for {library}"),
    "git": ("Cloning into '{service}'...", "remote: Enumerating objects: {n}12, done.", "Receiving objects: 100%", "fatal: repository not found"),
    "docker": ("Step {n}/9 : RUN make", "Sending build context to Docker daemon", "Successfully built 4f{n}aa1", "failed to solve: process did not complete successfully"),
    "cargo": ("   Compiling {crate} v0.{n}.1", "    Finished dev profile in {n}s", "error: could not compile {crate}", "    Updating crates.io index"),
}  # fmt: skip


def logs(project: str, harvest: Harvest, rng: random.Random, count: int) -> Iterator[Pair]:
    """Yield up to ``count`` logs; ``harvest`` needs messages, or there are none."""
    by_module: dict[str, list[Entry]] = {}
    for level, module, text in harvest.messages:
        by_module.setdefault(module, []).append((level, text))
    modules = [module for module, entries in by_module.items() if len(entries) > 1]
    for _ in range(count if modules else 0):
        draw = rng.random()
        if draw < 0.6:
            module = rng.choice(modules)
            content, sentence = _application(module, by_module[module], rng)
        else:
            content, sentence = _access(rng) if draw < 0.75 else _daemon(rng) if draw < 0.9 else _tool(rng)
        pair = stated(project, "log", "log", content, sentence)
        if pair is not None:
            yield pair


def _application(module: str, entries: list[Entry], rng: random.Random) -> tuple[str, str]:
    """Lines of one module; where one is an error it stands first or last, so that a cut does not hide it."""
    chosen = [(level, _filled(text, rng)) for level, text in rng.sample(entries, min(len(entries), rng.randint(2, 6)))]
    severe = [entry for entry in chosen if entry[0] in SEVERE]
    calm = [entry for entry in chosen if entry[0] not in SEVERE]
    chosen = [*calm, *severe[:1]] if rng.random() < 0.8 else [*severe[:1], *calm]
    short = module.split(".")[-1]
    content = "".join(
        _line(rng_style, level, module, text, index)
        for rng_style in [rng.randint(0, 5)]
        for index, (level, text) in enumerate(chosen)
    )
    if severe:
        return content, f"A log of {short} with an error: {_clean(severe[0][1])}."
    warned = [text for level, text in chosen if level == "warning"]
    if warned:
        return content, f"A log of {short} with a warning: {_clean(warned[0])}."
    return content, f"A log of {short} without errors that begins with: {_clean(chosen[0][1])}."


def _line(style: int, level: str, module: str, text: str, index: int) -> str:
    level = {"exception": "error", "critical": "critical"}.get(level, level)
    time = f"{7 + index // 3:02}:{(index * 17) % 60:02}:{(index * 23) % 60:02}"
    return {
        0: f"2026-03-01 {time},{index}12 {level.upper()} {module}: {text}\n",
        1: f"[{time}] {level.upper():8} {text}\n",
        2: f"{level.upper()}:{module}:{text}\n",
        3: json.dumps({"time": f"2026-03-01T{time}Z", "level": level, "logger": module, "message": text}) + "\n",
        4: f"2026/03/01 {time} [{level}] {text}\n",
        5: f"Mar  1 {time} host-1 {module.split('.')[-1]}[{index + 411}]: {level.upper()} {text}\n",
    }[style]


def _filled(text: str, rng: random.Random) -> str:
    """Percent signs of a message filled in, as if it had been logged."""
    text = re.sub(r"%\((\w+)\)[sr]", lambda match: f"{match[1].split('_')[0]}-{rng.randint(1, 99)}", text)
    text = re.sub(
        r"%[sr]",
        lambda _: rng.choice(
            (rng.choice(words.SERVICES), rng.choice(words.NAMES), f"{rng.choice(words.SERVICES)}-{rng.randint(1, 20)}")
        ),
        text,
    )
    text = re.sub(r"%\(\w+\)[-.\d]*[dfix]", lambda _: str(rng.randint(1, 500)), text)
    return re.sub(r"%[-.\d]*[dfix]", lambda _: str(rng.randint(1, 500)), text).strip()


def _clean(text: str) -> str:
    return re.sub(r"[\s.:,;!]+$", "", re.split(r"\.\s|[!?]", text)[0])


def _access(rng: random.Random) -> tuple[str, str]:
    paths = [
        f"/{rng.choice(('api/', '', 'static/', 'v1/'))}{rng.choice(list(words.THINGS))}s"
        for _ in range(rng.randint(2, 4))
    ]
    failing = rng.random() < 0.5
    lines = []
    for index, path in enumerate(paths):
        status = (
            rng.choice((500, 502, 404, 403))
            if failing and index == len(paths) - 1
            else rng.choice((200, 200, 301, 304))
        )
        lines.append(
            f'10.0.{rng.randint(0, 9)}.{rng.randint(1, 250)} - - [01/Mar/2026:07:{rng.randint(10, 59)}:00 +0000] "{rng.choice(("GET", "POST"))} {path} HTTP/1.1" {status} {rng.randint(90, 9000)}\n'
        )
    status = int(lines[-1].split()[-2])
    sentence = (
        f"A web server access log in which {paths[-1]} is answered with {status}."
        if failing
        else f"A web server access log with requests for {listed(list(dict.fromkeys(paths)), 3)}."
    )
    return "".join(lines), sentence


def _phrase(text: str, rng: random.Random) -> str:
    return text.format(
        n=rng.randint(1, 9), name=rng.choice(words.NAMES), service=rng.choice(words.SERVICES), command=rng.choice(words.COMMANDS), verb=rng.choice(words.VERBS),
        package=rng.choice(words.PACKAGES), library=rng.choice(words.LIBRARIES), crate=rng.choice(words.CRATES),
    )  # fmt: skip


def _daemon(rng: random.Random) -> tuple[str, str]:
    daemon = rng.choice(list(DAEMONS))
    said = [_phrase(text, rng) for text in rng.sample(DAEMONS[daemon], 3)]
    day, host, process = rng.randint(1, 28), f"host-{rng.randint(1, 9)}", rng.randint(100, 9_000)
    content = "".join(
        f"Mar {day:2} 0{index}:1{index}:0{index} {host} {daemon}[{process + index}]: {text}\n"
        for index, text in enumerate(said)
    )
    return content, f"A system log of {daemon} that ends with: {_clean(said[-1])}."


def _tool(rng: random.Random) -> tuple[str, str]:
    tool = rng.choice(list(TOOLS))
    said = [_phrase(text, rng) for text in rng.sample(TOOLS[tool], 3)]
    return "\n".join(said) + "\n", f"The output of {tool} that ends with: {_clean(said[-1].strip())}."
