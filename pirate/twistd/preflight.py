"""What is wrong with the surroundings that twistd's own options name, found before twistd stumbles over it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pirate.errors import ConfigurationError


def checkSurroundings(given: Mapping[str, Any]) -> None:
    """
    Check the directories, files and users that twistd's options name.

    :param given: the options of twistd, or of twist, which has none of these.
    :raise ConfigurationError: naming the option, the value, and why it cannot be used.
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
        _checkFolder("rundir", given.get("rundir") or ".")
    _checkUser(given.get("uid"), given.get("gid"), bool(given.get("euid")))
    if given["pidfile"]:
        path = os.path.abspath(given["pidfile"])
        _checkFile("pidfile", given["pidfile"], Path(path if root is None else f"{root}{path}"))
    if not given.get("syslog") and not given.get("logger"):
        name = given.get("logfile") or ("-" if given.get("nodaemon") else "twistd.log")
        if name == "-" and not given.get("nodaemon"):
            raise ConfigurationError("logfile is -, the terminal, which a daemon does not have; say -n, or name a file")
        if name != "-":
            _checkFile("logfile", name, Path(os.path.abspath(name)))


def _checkRoot(root: str) -> None:
    _checkFolder("chroot", root)
    if os.geteuid() != 0:
        raise ConfigurationError(f"chroot is {root}: only root may change the root directory")


def _checkFolder(option: str, value: str) -> None:
    if not os.path.isdir(value) or not os.access(value, os.X_OK):
        raise ConfigurationError(f"{option} is {value}: {_why(Path(value))}")


def _checkUser(uid: int | None, gid: int | None, effective: bool) -> None:
    if uid is not None and gid is None:
        try:
            pwd.getpwuid(uid)
        except KeyError:
            raise ConfigurationError(f"uid is {uid}: there is no such user; name its group by --gid") from None
    for name, wanted, now in (("uid", uid, os.geteuid()), ("gid", gid, os.getegid())):
        if wanted is not None and wanted != now and os.geteuid() != 0:
            raise ConfigurationError(f"{name} is {wanted}: only root may become another user, or change its group")


def _checkFile(option: str, value: str, path: Path) -> None:
    """Refuse a file that cannot be written, without making it."""
    folder = path.parent
    if not folder.is_dir():
        raise ConfigurationError(f"{option} is {value}: {folder}: {_why(folder)}")
    try:
        if path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        elif not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            raise ConfigurationError(f"{option} is {value}: nothing may be written into {folder}")
    except OSError as error:
        raise ConfigurationError(f"{option} is {value}: {error.strerror}") from None


def _why(folder: Path) -> str:
    """Why a path does not lead to a directory."""
    try:
        folder.stat()
    except OSError as error:
        return str(error.strerror)
    return "Permission denied" if folder.is_dir() else "Not a directory"
