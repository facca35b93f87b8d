"""Removes the thoughts of a reasoning model from its answer."""

from __future__ import annotations

import re

# Opening and closing marks, as the model families write them.
_NAMES = "think|thinking|thought|thoughts|reasoning|reason|analysis|reflection|scratchpad|seed:think"
_OPEN = re.compile(rf"\s*(?:<(?P<tag>{_NAMES})>|(?P<mark>\[THINK\]|◁think▷|<\|begin_of_thought\|>))", re.IGNORECASE)
_CLOSING_MARKS = {"[think]": "[/THINK]", "◁think▷": "◁/think▷", "<|begin_of_thought|>": "<|end_of_thought|>"}
# Where the chat template holds the opening mark, the answer begins inside the thoughts.
_LONE_CLOSE = re.compile(rf"(?:^|\n)[^\n]*(?:</(?:{_NAMES})>|\[/THINK\]|◁/think▷)[ \t]*\n", re.IGNORECASE)
# gpt-oss, where the server does not separate its channels.
_FINAL_CHANNEL = re.compile(r"<\|channel\|>final<\|message\|>")
_CONTROL = re.compile(r"<\|(?:start|end|return|channel|message|begin_of_solution|end_of_solution)\|>")


def without_thoughts(text: str) -> str:
    """The answer in ``text``; empty where there are thoughts only.

    Only thoughts at the beginning are removed: an answer may mention a ``<think>`` tag.

    >>> without_thoughts("<think>Let me see.</think>Adds two numbers.")
    'Adds two numbers.'
    >>> without_thoughts("<think>Let me see. The user wants")
    ''
    >>> without_thoughts("Removes <think> tags from a text.")
    'Removes <think> tags from a text.'
    """
    if "<|channel|>" in text:
        *_, answer = _FINAL_CHANNEL.split(text)
        return _CONTROL.sub("", answer).strip() if _FINAL_CHANNEL.search(text) else ""
    while opened := _OPEN.match(text):
        text = _after(text, opened)
    lone = _LONE_CLOSE.search(text)
    return (text[lone.end() :] if lone else text).strip()


def _after(text: str, opened: re.Match[str]) -> str:
    """The text after the block that ``opened`` begins, which may be nested; empty where it is never closed."""
    tag = opened["tag"]
    begin = re.escape(f"<{tag}>" if tag else opened["mark"])
    end = re.escape(f"</{tag}>" if tag else _CLOSING_MARKS[opened["mark"].lower()])
    depth = 0
    for mark in re.finditer(f"(?P<open>{begin})|{end}", text, re.IGNORECASE):
        depth += 1 if mark["open"] else -1
        if depth == 0:
            return text[mark.end() :]
    return ""
