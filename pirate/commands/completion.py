"""Completion scripts for shells, made from the parser, so that they always match the command's options."""

from __future__ import annotations

import argparse
from collections.abc import Callable

#: The metavars of options whose value is a file.
_FILES = ("FILE",)


def completionScript(parser: argparse.ArgumentParser, shell: str) -> str:
    """
    Return the completion script for a shell.

    :param parser: the parser of the command.
    :param shell: ``bash``, ``zsh`` or ``fish``.
    """
    options = [action for action in parser._actions if action.option_strings]
    return _BY_SHELL[shell](parser.prog, options)


def _bash(prog: str, options: list[argparse.Action]) -> str:
    cases = []
    for action in options:
        if action.nargs != 0:
            names = "|".join(action.option_strings)
            cases.append(f"        {names}) {_bashValues(action)}; return ;;")
    words = " ".join(name for action in options for name in action.option_strings)
    function = "_" + prog.replace("-", "_")
    return "\n".join(
        [
            f"# bash completion of {prog}",
            f"{function}() {{",
            '    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"',
            "    COMPREPLY=()",
            '    case "$previous" in',
            *cases,
            "    esac",
            f'    [[ $current == -* ]] && COMPREPLY=($(compgen -W "{words}" -- "$current"))',
            "}",
            f"complete -F {function} {prog}",
            "",
        ]
    )


def _bashValues(action: argparse.Action) -> str:
    if action.choices:
        return f'COMPREPLY=($(compgen -W "{" ".join(action.choices)}" -- "$current"))'
    if action.metavar in _FILES:
        return 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current")'
    return "COMPREPLY=()"


def _zsh(prog: str, options: list[argparse.Action]) -> str:
    lines = [f"#compdef {prog}", "", "_arguments -s \\"]
    for action in options:
        names = " ".join(action.option_strings)
        # A repeatable option does not exclude itself.
        again = isinstance(action, argparse._AppendAction)
        for name in action.option_strings:
            head = f"'*'{name}" if again else f"'({names})'{name}"
            lines.append(f"    {head}{_quoted('[' + _plain(action) + ']' + _zshValue(action))} \\")
    return "\n".join([*lines, "    '*:frame:()'", ""])


def _zshValue(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices:
        return f":{action.metavar}:({' '.join(action.choices)})"
    return f":{action.metavar}:{'_files' if action.metavar in _FILES else ' '}"


def _plain(action: argparse.Action) -> str:
    return (action.help or "").replace("[", "(").replace("]", ")").replace(":", r"\:")


def _fish(prog: str, options: list[argparse.Action]) -> str:
    lines = [f"# fish completion of {prog}", f"complete -c {prog} -f"]
    for action in options:
        words = [f"complete -c {prog}"]
        words += [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in action.option_strings]
        if action.choices:
            words.append(f"-x -a {_quoted(' '.join(action.choices))}")
        elif action.nargs != 0:
            words.append("-r -F" if action.metavar in _FILES else "-x")
        lines.append(" ".join([*words, "-d", _quoted(action.help or "", fish=True)]))
    return "\n".join([*lines, ""])


def _quoted(text: str, fish: bool = False) -> str:
    quote = r"\'" if fish else r"'\''"
    return "'" + text.replace("'", quote) + "'"


_BY_SHELL: dict[str, Callable[[str, list[argparse.Action]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
