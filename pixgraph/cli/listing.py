"""The help of a command that consists of others."""

from __future__ import annotations

from collections.abc import Mapping


def listing(usage: str, about: str, title: str, entries: Mapping[str, str], more: str) -> str:
    """What ``--help`` prints: how to call it, what it is for, and a line for each entry.

    Args:
        usage: The call.
        about: What it is for.
        title: What the entries are.
        entries: Name to one-line description.
        more: How to learn more of one.
    """
    width = max(map(len, entries))
    lines = [f"  {name:<{width}}  {text}" for name, text in entries.items()]
    return "\n".join([f"usage: {usage}", "", about, "", f"{title}:", *lines, "", more])
