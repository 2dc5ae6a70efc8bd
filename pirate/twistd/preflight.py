"""Checks of the files, directories and users that twistd's own options name, before twistd fails on them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pirate.errors import ConfigurationError


def checkEnvironment(given: Mapping[str, Any]) -> None:
    """
    Check the directories, files and users that twistd's options name.

    :param given: the options of twistd, or of twist, which has none of these.
    :raise ConfigurationError: naming the option, its value, and the reason why it does not work.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise ConfigurationError("the working directory has been removed: change to another one") from None
    if "pidfile" not in given:
        return
    root = given.get("chroot")
    if root is not None:
        _checkRoot(root)
    else:
        _checkDirectory("rundir", given.get("rundir") or ".")
    _checkUser(given.get("uid"), given.get("gid"))
    if given["pidfile"]:
        path = os.path.abspath(given["pidfile"])
        _checkFile("pidfile", given["pidfile"], Path(path if root is None else f"{root}{path}"))
    if not given.get("syslog") and not given.get("logger"):
        name = given.get("logfile") or ("-" if given.get("nodaemon") else "twistd.log")
        if name == "-" and not given.get("nodaemon"):
            raise ConfigurationError("logfile is -, the terminal, which a daemon does not have: add -n, or name a file")
        if name != "-":
            _checkFile("logfile", name, Path(os.path.abspath(name)))


def _checkRoot(root: str) -> None:
    _checkDirectory("chroot", root)
    if os.geteuid() != 0:
        raise ConfigurationError(f"chroot is {root}: only root may change the root directory")


def _checkDirectory(option: str, value: str) -> None:
    if not os.path.isdir(value) or not os.access(value, os.X_OK):
        raise ConfigurationError(f"{option} is {value}: {_reason(Path(value))}")


def _checkUser(uid: int | None, gid: int | None) -> None:
    if uid is not None and gid is None:
        try:
            pwd.getpwuid(uid)
        except KeyError:
            raise ConfigurationError(f"uid is {uid}: there is no such user: set its group with --gid") from None
    for name, wanted, now in (("uid", uid, os.geteuid()), ("gid", gid, os.getegid())):
        if wanted is not None and wanted != now and os.geteuid() != 0:
            raise ConfigurationError(f"{name} is {wanted}: only root may change the user or the group")


def _checkFile(option: str, value: str, path: Path) -> None:
    """Refuse a file that cannot be written, without creating it."""
    folder = path.parent
    if not folder.is_dir():
        raise ConfigurationError(f"{option} is {value}: {folder}: {_reason(folder)}")
    try:
        if path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        elif not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            raise ConfigurationError(f"{option} is {value}: {folder} is not writable")
    except OSError as error:
        raise ConfigurationError(f"{option} is {value}: {error.strerror}") from None


def _reason(folder: Path) -> str:
    """Return the reason why a path is not a usable directory."""
    try:
        folder.stat()
    except OSError as error:
        return str(error.strerror)
    return "Permission denied" if folder.is_dir() else "Not a directory"
