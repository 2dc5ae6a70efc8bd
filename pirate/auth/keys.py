"""
CURVE keys, in certificates of pyzmq's format.

``NAME.key`` holds a public key.  ``NAME.key_secret`` holds a key pair, and only its owner may read it.  In this module
a key is 40 bytes of Z85 text, the form that ZeroMQ's options take.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pirate.errors import ConfigurationError

#: The prefix that names a file in the service manager's directory of credentials.
CREDENTIAL = "credential:"
#: The suffix of a public certificate, and that of a certificate with a secret key.
PUBLIC, SECRET = ".key", ".key_secret"
#: The length of a key as Z85 text, in bytes.
TEXT_KEY_SIZE = 40
#: The longest user name, in bytes: ZeroMQ sends a user id as one short frame.
MAX_NAME = 255
#: The largest key file that is read, in bytes.
MAX_SIZE = 1 << 20

#: The alphabet of Z85 (ZeroMQ's RFC 32), and that of Python's ``b85encode``; the encodings differ in nothing else.
_Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_TO_Z85, _FROM_Z85 = bytes.maketrans(_B85, _Z85), bytes.maketrans(_Z85, _B85)


@dataclass(frozen=True, slots=True)
class _Certificate:
    """The fields of a certificate; a missing field is empty."""

    public: str = ""
    secret: str = ""
    name: str = ""


def loadPublic(path: str | os.PathLike[str]) -> bytes:
    """
    Return the public key of a certificate, with or without a secret key.

    :param path: a file; ``credential:NAME`` is a file in the directory that ``CREDENTIALS_DIRECTORY`` names.
    :return: 40 bytes of Z85 text.
    :raise ConfigurationError: if the file holds no public key.
    """
    file = locate(path)
    certificate = _certificate(_read(file))
    return _key(file, "public-key", certificate.public)


def loadPair(path: str | os.PathLike[str]) -> tuple[bytes, bytes]:
    """
    Return the key pair of a certificate that only its owner may read.

    :param path: the same as for :func:`loadPublic`.
    :return: the public and the secret key, 40 bytes of Z85 text each.
    :raise ConfigurationError: if the file holds no pair, if others may read it, or if the keys do not match.
    """
    import zmq

    file = locate(path)
    text = _read(file)
    _refuseReadable(file)
    certificate = _certificate(text)
    secret = _key(file, "secret-key", certificate.secret)
    public = _key(file, "public-key", certificate.public)
    if zmq.curve_public(secret) != public:
        raise ConfigurationError(f"{file}: the public-key does not match the secret-key: make a new pair")
    return public, secret


def loadUsers(path: str | os.PathLike[str]) -> dict[bytes, str]:
    """
    Return public keys and the users that own them.

    :param path: a directory, whose ``*.key`` files are certificates; a certificate; or a file with lines of the form
        ``name = key``.  The user of a certificate is the ``name`` in its metadata, or else the name of the file.
    :return: the user of each key, by the key as 40 bytes of Z85 text.  One user may have several keys.
    :raise ConfigurationError: if a file cannot be read, if anyone may write to it, or if two users share a key.
    """
    place = locate(path)
    users: dict[bytes, str] = {}
    for file, key, name in _named(place):
        user = users.setdefault(key, name)
        if user != name:
            raise ConfigurationError(f"{file}: {name!r} has the same key as {user!r}: each key must have one user")
    return users


def toText(key: bytes) -> bytes:
    """Return a key of 32 bytes as 40 bytes of Z85 text."""
    return base64.b85encode(key).translate(_TO_Z85)


def fingerprint(path: str | os.PathLike[str]) -> object:
    """
    Return a value that changes when a key file changes, or when one appears in a directory or disappears from it.

    :param path: the same as for :func:`loadUsers`.
    """
    try:
        place = locate(path)
        return [_stamp(place), *(_stamp(file) for file in _files(place))]
    except (ConfigurationError, OSError):
        return None


def locate(path: str | os.PathLike[str]) -> Path:
    """
    Return the file that a setting names.

    :raise ConfigurationError: if the setting names a credential, and the service manager provides none.
    """
    text = os.fspath(path)
    if not text.startswith(CREDENTIAL):
        return Path(text)
    folder, name = os.environ.get("CREDENTIALS_DIRECTORY"), text.removeprefix(CREDENTIAL)
    if not folder:
        raise ConfigurationError(
            f"{text}: CREDENTIALS_DIRECTORY is not set: the service manager provides no credentials"
        )
    if name in ("", ".", "..") or "/" in name:
        raise ConfigurationError(f"{text}: {name!r} is not the name of a credential")
    return Path(folder, name)


def checkName(name: str) -> str:
    """
    Check that a name can be a file name, a user id, and a word in a log line.

    :return: the name.
    :raise ConfigurationError: if the name is not valid.
    """
    if not name or not name.isprintable() or name != name.strip() or set(name) & set("/=#\"'") or name[0] in ".-":
        raise ConfigurationError(
            f"{name!r} is not a valid name: it must not begin with a dot or a dash, begin or end with a space, or "
            "contain / = # or quotes"
        )
    if len(name.encode()) > MAX_NAME - len(SECRET):
        raise ConfigurationError(f"the name {name[:20]!r}... is longer than {MAX_NAME - len(SECRET)} bytes")
    return name


def _named(place: Path) -> Iterator[tuple[Path, bytes, str]]:
    """Yield the file, the key and the user of each key."""
    _refuseWritable(place)
    for file in _files(place):
        text = _read(file)
        _refuseWritable(file)
        certificate = _certificate(text)
        if certificate.public or file != place:
            name = certificate.name or file.name.removesuffix(PUBLIC).removesuffix(SECRET)
            yield file, _key(file, "public-key", certificate.public), _user(file, name)
        else:
            yield from _listed(file, text)


def _listed(file: Path, text: str) -> Iterator[tuple[Path, bytes, str]]:
    """Yield the keys of a file that has one line for each."""
    found = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, equals, key = line.partition("=")
            if not equals:
                raise ConfigurationError(f"{file}, line {number}: must be a line of a certificate, or name = key")
            yield file, _key(file, f"the key in line {number}", _unquoted(key)), _user(file, _unquoted(name))
            found = True
    if not found:
        raise ConfigurationError(f"{file}: it contains no key")


def _files(place: Path) -> list[Path]:
    try:
        # ``is_dir`` raises some errors of the system, and takes others for a no.
        if not stat.S_ISDIR(place.stat().st_mode):
            return [place]
        return sorted(each for each in place.iterdir() if each.name.endswith(PUBLIC))
    except OSError as error:
        raise ConfigurationError(f"{place}: {error.strerror}") from None


def _stamp(file: Path) -> tuple[str, int, int, int, int]:
    facts = file.stat()
    # The mode belongs to the stamp because it may change within the same tick of the clock as the content: a file
    # that could not be read may be readable now, with the same content.
    return file.name, facts.st_ctime_ns, facts.st_mode, facts.st_size, facts.st_ino


def _read(file: Path) -> str:
    try:
        # A device may never end, and a named pipe may block.
        if not stat.S_ISREG(file.stat().st_mode):
            raise ConfigurationError(f"{file}: it is not a regular file")
        with file.open("rb") as opened:
            data = opened.read(MAX_SIZE + 1)
        if len(data) > MAX_SIZE:
            raise ConfigurationError(f"{file}: it is larger than {MAX_SIZE} bytes, the limit for a key file")
        return data.decode()
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: it is not a text file, so not a certificate") from None


def _certificate(text: str) -> _Certificate:
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() in ("public-key", "secret-key", "name"):
            found.setdefault(name.strip(), _unquoted(value))
    named = "" if "public-key" not in found else found.get("name", "")
    return _Certificate(found.get("public-key", ""), found.get("secret-key", ""), named)


def _unquoted(text: str) -> str:
    return text.strip(" \t\"'")


def _key(file: Path, what: str, text: str) -> bytes:
    if not text:
        raise ConfigurationError(f"{file}: it contains no {what}")
    try:
        key = text.encode("ascii")
        if len(key) == TEXT_KEY_SIZE and not key.strip(_Z85):
            # Some groups of five Z85 characters exceed four bytes.
            base64.b85decode(key.translate(_FROM_Z85))
            return key
    except ValueError:
        pass
    # The message does not show the text: it may be a secret key.
    raise ConfigurationError(f"{file}: {what} is not a key of {TEXT_KEY_SIZE} characters of Z85")


def _user(file: Path, name: str) -> str:
    try:
        return checkName(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from None


def _refuseReadable(file: Path) -> None:
    """Refuse a secret key that others may read; systemd gives the group access to a credential, by an ACL."""
    mode = stat.S_IMODE(file.stat().st_mode)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    forbidden = 0o037 if folder and file.parent == Path(folder) else 0o077
    if mode & forbidden:
        raise ConfigurationError(
            f"{file} has mode {mode:04o}, but only its owner may read a secret key: chmod 600 {file}"
        )


def _refuseWritable(place: Path) -> None:
    """Refuse keys that anyone may write, and so admit themselves."""
    try:
        mode = stat.S_IMODE(place.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(f"{place}: {error.strerror}") from None
    if mode & stat.S_IWOTH:
        raise ConfigurationError(f"{place} has mode {mode:04o}, so anyone could add a key: chmod o-w {place}")
