"""Made-up data, configuration and SQL, with the sentence that a rule makes of each."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Iterator

import yaml

from training.corpus.kinds import words
from training.corpus.kinds.found import stated
from training.corpus.kinds.shapes import shape
from training.corpus.kinds.statements import rule
from training.corpus.pair import Pair

Maker = Callable[[random.Random], str]


def samples(project: str, rng: random.Random, count: int) -> Iterator[Pair]:
    """Yield ``count`` contents of each language, fewer where a rule has nothing to say of one."""
    for language, makers in MAKERS.items():
        for _ in range(count):
            content = rng.choice(makers)(rng)
            sentence = rule(content) if language == "sql" else shape(language, content)
            kind = "statement" if language == "sql" else "data"
            pair = stated(project, language, kind, content, sentence) if sentence else None
            if pair is not None:
                yield pair


def _object(rng: random.Random, depth: int = 1) -> dict[str, object]:
    _, names = words.fields(rng)
    made: dict[str, object] = {name: words.value(rng, name) for name in names}
    if depth and rng.random() < 0.4:
        other, _ = words.fields(rng)
        made[other] = _object(rng, 0)
    if depth and rng.random() < 0.2:
        made["tags"] = rng.sample(words.PLACES, 3)
    return made


def _json(rng: random.Random) -> str:
    return json.dumps(_object(rng), indent=rng.choice((2, 2, 4, None)))


def _json_list(rng: random.Random) -> str:
    _, names = words.fields(rng)
    rows = [{name: words.value(rng, name) for name in names} for _ in range(rng.randint(2, 3))]
    return json.dumps(rows, indent=rng.choice((2, None)))


def _json_package(rng: random.Random) -> str:
    made: dict[str, object] = {
        "name": f"{rng.choice(words.SERVICES)}-{rng.choice(words.MODULES)}",
        "version": f"{rng.randint(0, 5)}.{rng.randint(0, 20)}.0",
    }
    if rng.random() < 0.5:
        made["private"] = True
    if rng.random() < 0.7:
        made["scripts"] = {
            name: f"{name} --all"
            for name in rng.sample(("build", "test", "lint", "start", "dev", "format"), rng.randint(1, 4))
        }
    made["dependencies"] = {name: f"^{rng.randint(1, 9)}.0.0" for name in rng.sample(words.PACKAGES, rng.randint(1, 4))}
    return json.dumps(made, indent=2)


def _json_schema(rng: random.Random) -> str:
    _, names = words.fields(rng)
    kinds = ("string", "integer", "number", "boolean")
    return json.dumps(
        {"type": "object", "properties": {n: {"type": rng.choice(kinds)} for n in names}, "required": names[:1]},
        indent=2,
    )


def _dumped(tree: object) -> str:
    return yaml.safe_dump(tree, sort_keys=False)


def _compose(rng: random.Random) -> str:
    services: dict[str, dict[str, object]] = {}
    for name in rng.sample(words.SERVICES, rng.randint(1, 4)):
        service: dict[str, object] = (
            {"build": f"./{name}"} if rng.random() < 0.4 else {"image": rng.choice(words.IMAGES)}
        )
        if rng.random() < 0.6:
            service["ports"] = [f"{rng.randint(1000, 9999)}:{rng.choice((80, 5432, 8000, 6379))}"]
        if services and rng.random() < 0.5:
            service["depends_on"] = [next(iter(services))]
        services[name] = service
    return _dumped({"version": "3.8", "services": services} if rng.random() < 0.4 else {"services": services})


def _workflow(rng: random.Random) -> str:
    jobs = {
        job: {
            "runs-on": "ubuntu-latest",
            "steps": [
                {"uses": "actions/checkout@v4"},
                {"run": rng.choice(("make test", "npm ci", "pytest -q", "cargo test", "tox"))},
            ],
        }
        for job in rng.sample(
            ("test", "lint", "build", "deploy", "docs", "release", "publish", "typecheck"), rng.randint(1, 3)
        )
    }
    on = rng.choice((["push"], ["push", "pull_request"], {"push": {"branches": ["main"]}}))
    named = {"name": rng.choice(("CI", "Tests", "Build", "Release", "Deploy", "Lint"))} if rng.random() < 0.7 else {}
    return _dumped({**named, "on": on, "jobs": jobs}).replace("'on':", "on:").replace("true:", "on:")


def _manifest(rng: random.Random) -> str:
    name = rng.choice(words.SERVICES)
    kind = rng.choice(
        (
            "Deployment",
            "Service",
            "ConfigMap",
            "Secret",
            "StatefulSet",
            "Ingress",
            "Job",
            "CronJob",
            "Namespace",
            "ServiceAccount",
        )
    )
    spec: dict[str, object] = {
        "Deployment": {
            "replicas": rng.randint(1, 5),
            "template": {"spec": {"containers": [{"name": name, "image": rng.choice(words.IMAGES)}]}},
        },
        "Service": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": rng.choice((8000, 8080, 3000))}]},
        "Ingress": {"rules": [{"host": f"{name}.example.com"}]},
        "CronJob": {"schedule": f"{rng.randint(0, 59)} {rng.randint(0, 23)} * * *"},
    }.get(kind, {})
    body: dict[str, object] = (
        {"data": {n: str(words.value(rng, n)) for n in words.fields(rng)[1]}} if kind in ("ConfigMap", "Secret") else {}
    )
    api = {
        "Deployment": "apps/v1",
        "StatefulSet": "apps/v1",
        "Ingress": "networking.k8s.io/v1",
        "Job": "batch/v1",
        "CronJob": "batch/v1",
    }.get(kind, "v1")
    return _dumped(
        {
            "apiVersion": api,
            "kind": kind,
            "metadata": {"name": f"{name}-{rng.choice(words.MODULES)}"},
            **({"spec": spec} if spec else {}),
            **body,
        }
    )


def _yaml(rng: random.Random) -> str:
    return _dumped(_object(rng))


def _toml(rng: random.Random) -> str:
    lines = []
    for table in rng.sample(words.SERVICES + words.MODULES, rng.randint(2, 4)):
        lines += [
            f"[{table}]",
            *(f"{name.replace(' ', '_')} = {json.dumps(words.value(rng, name))}" for name in words.fields(rng)[1][:4]),
            "",
        ]
    return "\n".join(lines)


def _cargo(rng: random.Random) -> str:
    needed = rng.sample(words.CRATES, rng.randint(1, 5))
    name = f"{rng.choice(words.SERVICES)}-{rng.choice(words.MODULES)}"
    return (
        f'[package]\nname = "{name}"\nversion = "0.{rng.randint(1, 9)}.0"\nedition = "2021"\n\n[dependencies]\n'
        + "\n".join(f'{n} = "{rng.randint(0, 4)}.{rng.randint(0, 9)}"' for n in needed)
        + "\n"
    )


def _pyproject(rng: random.Random) -> str:
    needed = ", ".join(f'"{n}>={rng.randint(1, 5)}"' for n in rng.sample(words.LIBRARIES, rng.randint(1, 4)))
    name = f"{rng.choice(words.SERVICES)}-{rng.choice(words.MODULES)}"
    return f'[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n[project]\nname = "{name}"\nversion = "1.{rng.randint(0, 9)}"\nrequires-python = ">=3.11"\ndependencies = [{needed}]\n'


def _ini(rng: random.Random) -> str:
    lines = []
    for section in rng.sample(words.SERVICES + words.MODULES, rng.randint(1, 4)):
        lines += [
            f"[{section}]",
            *(
                f"{name.replace(' ', '_')}{rng.choice((' = ', '='))}{words.value(rng, name)}"
                for name in words.fields(rng)[1][:5]
            ),
            "",
        ]
    return "\n".join(lines)


def _environment(rng: random.Random) -> str:
    names = rng.sample(
        (
            "DATABASE_URL",
            "SECRET_KEY",
            "DEBUG",
            "REDIS_URL",
            "PORT",
            "LOG_LEVEL",
            "API_KEY",
            "SMTP_HOST",
            "AWS_REGION",
            "SENTRY_DSN",
            "ALLOWED_HOSTS",
            "TIMEOUT",
            "WORKERS",
            "CACHE_TTL",
        ),
        rng.randint(2, 6),
    )
    return "".join(f"{name}={words.value(rng, name.lower())}\n" for name in names)


def _csv(rng: random.Random) -> str:
    _, names = words.fields(rng)
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=rng.choice((",", ",", ";", "\t")), lineterminator="\n")
    writer.writerows([names, *([words.value(rng, name) for name in names] for _ in range(rng.randint(2, 8)))])
    return stream.getvalue()


def _makefile(rng: random.Random) -> str:
    targets = rng.sample(
        ("all", "build", "test", "clean", "install", "lint", "format", "run", "docs", "dist", "deploy", "check"),
        rng.randint(2, 6),
    )
    return (
        f".PHONY: {' '.join(targets)}\n\n"
        + "\n\n".join(
            f"{t}:{' ' + targets[0] if i and rng.random() < 0.3 else ''}\n\t{rng.choice(words.COMMANDS)} {t}"
            for i, t in enumerate(targets)
        )
        + "\n"
    )


def _dockerfile(rng: random.Random) -> str:
    run = rng.choice(words.COMMANDS)
    middle = rng.choice(
        (
            "RUN pip install -r requirements.txt",
            "RUN npm ci",
            "RUN apt-get update && apt-get install -y curl",
            "RUN go build -o /app",
            "RUN make",
        )
    )
    return f'FROM {rng.choice(words.IMAGES)}\nWORKDIR /app\nCOPY . .\n{middle}\nEXPOSE {rng.choice((80, 8000, 3000, 5432))}\nCMD ["{run}", "{rng.choice(words.MODULES)}"]\n'


def _requirements(rng: random.Random) -> str:
    return "".join(
        f"{name}{rng.choice(('==', '>='))}{rng.randint(0, 9)}.{rng.randint(0, 30)}.{rng.randint(0, 9)}\n"
        for name in rng.sample(words.LIBRARIES, rng.randint(3, 9))
    )


def _xml(rng: random.Random) -> str:
    thing, names = words.fields(rng)
    names = [name.replace(" ", "") for name in names]
    inner = "\n".join(f"  <{name}>{words.value(rng, name)}</{name}>" for name in names)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{thing}>\n{inner}\n</{thing}>\n'


def _sql_type(rng: random.Random) -> str:
    return rng.choice(
        (
            "INTEGER",
            "BIGINT NOT NULL",
            "TEXT",
            "VARCHAR(80)",
            "TIMESTAMP",
            "BOOLEAN DEFAULT FALSE",
            "NUMERIC(10, 2)",
            "DATE",
        )
    )


def _sql_table(rng: random.Random) -> str:
    thing, names = words.fields(rng)
    columns = ",\n    ".join(f"{name.replace(' ', '_')} {_sql_type(rng)}" for name in names)
    return f"CREATE TABLE {rng.choice(('', 'IF NOT EXISTS '))}{thing}s (\n    {columns}\n);\n"


def _sql_index(rng: random.Random) -> str:
    thing, names = words.fields(rng)
    names = [name.replace(" ", "_") for name in names[: rng.randint(1, 2)]]
    return (
        f"CREATE {rng.choice(('', 'UNIQUE '))}INDEX idx_{thing}s_{'_'.join(names)} ON {thing}s ({', '.join(names)});\n"
    )


def _sql_select(rng: random.Random) -> str:
    thing, names = words.fields(rng)
    names = [name.replace(" ", "_") for name in names[:4]]
    other = rng.choice(list(words.THINGS))
    join = f"JOIN {other}s ON {other}s.id = {thing}s.{other}_id\n" if other != thing and rng.random() < 0.4 else ""
    counted = rng.random() < 0.3
    columns = (
        f"{names[0]}, COUNT(*) AS {rng.choice(('total', 'n', 'entries', 'amount'))}" if counted else ", ".join(names)
    )
    end = (
        f"GROUP BY {names[0]}"
        if counted
        else rng.choice((f"ORDER BY {names[0]} DESC", f"WHERE {names[-1]} IS NOT NULL", f"LIMIT {rng.randint(5, 500)}"))
    )
    return f"SELECT {columns}\nFROM {thing}s\n{join}{end};\n"


def _sql_change(rng: random.Random) -> str:
    thing, names = words.fields(rng)
    names = [name.replace(" ", "_") for name in names]
    values = ", ".join(repr(words.value(rng, name)) for name in names)
    return rng.choice(
        (
            f"INSERT INTO {thing}s ({', '.join(names)})\nVALUES ({values});\n",
            f"UPDATE {thing}s\nSET {names[-1]} = {words.value(rng, names[-1])!r}\nWHERE {names[0]} = {rng.randint(1, 999)};\n",
            f"DELETE FROM {thing}s\nWHERE {names[0]} < {rng.randint(1, 999)};\n",
            f"ALTER TABLE {thing}s\n    ADD COLUMN {names[0]} {_sql_type(rng)};\n",
        )
    )


MAKERS: dict[str, tuple[Maker, ...]] = {
    "json": (_json, _json, _json_list, _json_package, _json_schema),
    "yaml": (_compose, _workflow, _manifest, _manifest, _yaml),
    "toml": (_toml, _cargo, _pyproject),
    "ini": (_ini,),
    "environment": (_environment,),
    "csv": (_csv,),
    "makefile": (_makefile,),
    "dockerfile": (_dockerfile,),
    "requirements": (_requirements,),
    "xml": (_xml,),
    "sql": (_sql_table, _sql_index, _sql_select, _sql_change),
}
