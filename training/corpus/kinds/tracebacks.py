"""Tracebacks, panics and compiler errors, made of what real code raises, with a sentence that says how they end."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from training.corpus.kinds import words
from training.corpus.kinds.found import stated
from training.corpus.kinds.harvest import Harvest
from training.corpus.pair import Pair

BUILT_IN = (
    "KeyError: '{field}'", "IndexError: list index out of range", "ZeroDivisionError: division by zero",
    "AttributeError: 'NoneType' object has no attribute '{field}'", "TypeError: unsupported operand type(s) for +: 'int' and 'str'",
    "ModuleNotFoundError: No module named '{module}'", "FileNotFoundError: [Errno 2] No such file or directory: '{module}.json'",
    "ValueError: invalid literal for int() with base 10: '{field}'", "NameError: name '{field}' is not defined",
    "RecursionError: maximum recursion depth exceeded", "ConnectionRefusedError: [Errno 111] Connection refused",
    "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte", "MemoryError", "KeyboardInterrupt",
    "PermissionError: [Errno 13] Permission denied: '/var/lib/{module}'", "TimeoutError: timed out",
    "TypeError: {name}() missing 1 required positional argument: '{field}'", "ImportError: cannot import name '{name}' from '{module}'",
    "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)", "AssertionError", "BrokenPipeError: [Errno 32] Broken pipe",
    "sqlite3.OperationalError: no such table: {module}", "requests.exceptions.HTTPError: 404 Client Error: Not Found",
)  # fmt: skip
JAVA = [
    "NullPointerException",
    "IllegalArgumentException",
    "IllegalStateException",
    "IOException",
    "SQLException",
    "ClassCastException",
    "ArrayIndexOutOfBoundsException",
    "NumberFormatException",
    "TimeoutException",
    "OutOfMemoryError",
    "ClassNotFoundException",
    "ConcurrentModificationException",
]
SCRIPT = (
    "TypeError: Cannot read properties of undefined (reading '{field}')", "ReferenceError: {field} is not defined", "TypeError: {field} is not a function",
    "SyntaxError: Unexpected token in JSON at position 0", "Error: Cannot find module '{module}'", "RangeError: Maximum call stack size exceeded",
    "Error: connect ECONNREFUSED 127.0.0.1:5432", "Error: ENOENT: no such file or directory, open '{module}.json'",
)  # fmt: skip
GO = (
    "runtime error: index out of range [5] with length 3", "runtime error: invalid memory address or nil pointer dereference",
    "assignment to entry in nil map", "send on closed channel", "runtime error: integer divide by zero",
)  # fmt: skip
RUST = (
    "called `Option::unwrap()` on a `None` value", "index out of bounds: the len is 3 but the index is 7", "attempt to subtract with overflow",
    "attempt to divide by zero", "assertion failed", "already borrowed",
)  # fmt: skip
C = (
    "error: '{field}' undeclared (first use in this function)", "error: expected ';' before 'return'", "error: unknown type name '{name}_t'",
    "error: too few arguments to function '{name}'", "warning: unused variable '{field}'", "fatal error: {module}.h: No such file or directory",
)  # fmt: skip


def tracebacks(project: str, harvest: Harvest, rng: random.Random, count: int) -> Iterator[Pair]:
    """Yield up to ``count`` of them, most from Python; ``harvest`` needs a frame, or there are none."""
    makers = (_python, _python, _python, _python, _pytest, _java, _script, _go, _rust, _compiler)
    for _ in range(count if harvest.frames else 0):
        content, sentence = rng.choice(makers)(harvest, rng)
        pair = stated(project, "traceback", "traceback", content, sentence)
        if pair is not None:
            yield pair


def _filled(text: str, rng: random.Random) -> str:
    _, names = words.fields(rng)
    return text.format(
        field=rng.choice(names),
        module=rng.choice(words.MODULES),
        name=f"{rng.choice(words.VERBS)}_{rng.choice(words.MODULES)}",
    )


def _error(harvest: Harvest, rng: random.Random) -> str:
    if harvest.errors and rng.random() < 0.6:
        kind, text = rng.choice(harvest.errors)
        return f"{kind}: {text}"
    return _filled(rng.choice(BUILT_IN), rng)


def _python(harvest: Harvest, rng: random.Random) -> tuple[str, str]:
    frames = rng.sample(harvest.frames, min(len(harvest.frames), rng.randint(1, 4)))
    root = rng.choice(("/app", "/srv/app", "/home/anna/project", "/usr/lib/python3/dist-packages", "C:/work"))
    lines = ["Traceback (most recent call last):"]
    if rng.random() < 0.5:
        lines += [f'  File "{root}/main.py", line {rng.randint(5, 90)}, in <module>', "    main()"]
    for path, name, line in frames:
        lines += [f'  File "{root}/{path}", line {rng.randint(10, 900)}, in {name}', f"    {line.strip()}"]
    error = _error(harvest, rng)
    return "\n".join(
        [*lines, error]
    ) + "\n", f"A Python traceback that ends in {_short(error)}, raised in {frames[-1][1]}."


def _pytest(harvest: Harvest, rng: random.Random) -> tuple[str, str]:
    path, name, line = rng.choice(harvest.frames)
    error = _error(harvest, rng)
    test = f"test_{name.strip('_')}"
    content = (
        f"=================================== FAILURES ===================================\n{f' {test} ':_^80}\n\n    def {test}():\n>       {line.strip()}\n"
        f"\ntests/test_{path.split('/')[-1]}:{rng.randint(5, 300)}: \nE   {error}\n\n=========================== short test summary info ============================\n"
        f"FAILED tests/test_{path.split('/')[-1]}::{test} - {error}\n"
    )
    return content, f"A failed run of pytest in which {test} ends in {_short(error)}."


def _java(harvest: Harvest, rng: random.Random) -> tuple[str, str]:
    kind = rng.choice(JAVA)
    frames = [
        (
            words.camel(
                f"x_{rng.choice(words.SERVICES)}_{rng.choice(('service', 'controller', 'repository', 'client', 'handler'))}"
            )[1:],
            words.camel(f"{rng.choice(words.VERBS)}_{rng.choice(words.MODULES)}"),
        )
        for _ in range(rng.randint(2, 5))
    ]
    package = rng.choice(("com.example", "org.acme.shop", "io.demo", "net.corp.billing"))
    message = f": {_filled('Invalid value for {field}', rng)}" if rng.random() < 0.5 else ""
    lines = [f'Exception in thread "main" java.{rng.choice(("lang", "util", "io"))}.{kind}{message}']
    lines += [f"\tat {package}.{owner}.{method}({owner}.java:{rng.randint(10, 400)})" for owner, method in frames]
    return "\n".join(lines) + "\n", f"A Java stack trace of {_a(kind)}, thrown in {frames[0][0]}.{frames[0][1]}."


def _script(harvest: Harvest, rng: random.Random) -> tuple[str, str]:
    error = _filled(rng.choice(SCRIPT), rng)
    names = [words.camel(f"{rng.choice(words.VERBS)}_{rng.choice(words.SERVICES)}") for _ in range(rng.randint(2, 4))]
    lines = [
        error,
        *(
            f"    at {name} (/app/src/{rng.choice(words.MODULES)}.js:{rng.randint(1, 400)}:{rng.randint(1, 60)})"
            for name in names
        ),
    ]
    return "\n".join(lines) + "\n", f"A JavaScript stack trace of {_short(error)}, thrown in {names[0]}."


def _go(harvest: Harvest, rng: random.Random) -> tuple[str, str]:
    error = rng.choice(GO)
    name = words.camel(f"{rng.choice(words.VERBS)}_{rng.choice(words.SERVICES)}")
    content = f"panic: {error}\n\ngoroutine 1 [running]:\nmain.{name}(...)\n\t/src/{rng.choice(words.MODULES)}.go:{rng.randint(5, 300)} +0x1d\nmain.main()\n\t/src/main.go:{rng.randint(5, 90)} +0x2f\nexit status 2\n"
    return content, f"A Go panic in main.{name}: {error}."


def _rust(harvest: Harvest, rng: random.Random) -> tuple[str, str]:
    error, place = rng.choice(RUST), f"src/{rng.choice(words.MODULES)}.rs"
    content = f"thread 'main' panicked at {place}:{rng.randint(5, 300)}:{rng.randint(1, 40)}:\n{error}\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
    said = re.sub(
        r"called Option::unwrap\(\) on a None value", "unwrap was called on a None value", error.replace("`", "")
    )
    return content, f"A Rust panic in {place}: {said}."


def _compiler(harvest: Harvest, rng: random.Random) -> tuple[str, str]:
    error, file = _filled(rng.choice(C), rng), f"{rng.choice(words.MODULES)}.c"
    name = f"{rng.choice(words.VERBS)}_{rng.choice(words.MODULES)}"
    line = rng.randint(5, 400)
    content = f"{file}: In function '{name}':\n{file}:{line}:{rng.randint(1, 40)}: {error}\n {line} |     {name}({words.fields(rng)[1][0]});\n      |     ^~~~\nmake: *** [Makefile:{rng.randint(3, 40)}: {file[:-2]}.o] Error 1\n"
    sort, _, said = error.partition(": ")
    return content, f"A compiler {sort.split()[-1]} in {file}: {said}."


def _short(error: str) -> str:
    """The error with its message, or its type alone where the message is long or has what a sentence may not have."""
    kind, _, message = error.partition(": ")
    sound = len(message.split()) <= 10 and not re.search(r"[{}<>|\\=`]|::|\.\s", message)
    return f"{kind}: {message.rstrip('.')}" if message and sound else kind


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"
