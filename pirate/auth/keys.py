"""
CURVE keys: certificates in pyzmq's format, read and written.

A public key is in ``NAME.key``, a pair in ``NAME.key_secret``, which only its owner may read.  A key is 40 bytes of Z85
text here, as ZeroMQ's options take it.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pirate.errors import ConfigurationError

#: Begins the name of a file in the service manager's directory of credentials.
CREDENTIAL = "credential:"
#: The endings of a public certificate, and of one with a secret key.
PUBLIC, SECRET = ".key", ".key_secret"
#: The length of a key as text.
KEY_SIZE = 40
#: The longest name of a key, in bytes: a user id is one frame of at most so many.
MAX_NAME = 255
#: The largest file that is taken for one with keys, in bytes.
MAX_SIZE = 1 << 20

#: The alphabet of Z85, ZeroMQ's RFC 32, and the one of Python's ``b85encode``, which is the same but for that.
_Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_TO_Z85, _FROM_Z85 = bytes.maketrans(_B85, _Z85), bytes.maketrans(_Z85, _B85)


@dataclass(frozen=True, slots=True)
class _Certificate:
    """What a certificate says; what it does not say is empty."""

    public: str = ""
    secret: str = ""
    name: str = ""


def loadPublic(path: str | os.PathLike[str]) -> bytes:
    """
    The public key of a certificate, with or without a secret key.

    :param path: a file; ``credential:NAME`` is one in the directory that ``CREDENTIALS_DIRECTORY`` names.
    :return: 40 bytes of Z85 text.
    :raise ConfigurationError: if there is none.
    """
    file = locate(path)
    certificate = _certificate(_read(file))
    return _key(file, "public-key", certificate.public)


def loadPair(path: str | os.PathLike[str]) -> tuple[bytes, bytes]:
    """
    The keys of a certificate with a secret key, which nobody but its owner may be able to read.

    :param path: as for :func:`loadPublic`.
    :return: the public and the secret key, 40 bytes of Z85 text each.
    :raise ConfigurationError: if there are none, if others may read them, or if they are not a pair.
    """
    import zmq

    file = locate(path)
    text = _read(file)
    _refuseOpen(file)
    certificate = _certificate(text)
    secret = _key(file, "secret-key", certificate.secret)
    public = _key(file, "public-key", certificate.public)
    if zmq.curve_public(secret) != public:
        raise ConfigurationError(f"{file}: its public-key does not belong to its secret-key: make a new pair")
    return public, secret


def loadNames(path: str | os.PathLike[str]) -> dict[bytes, str]:
    """
    Public keys, and whose they are.

    :param path: a directory, whose ``*.key`` are certificates; a certificate; or a file with lines ``name = key``.  The
        holder of a certificate's key is the ``name`` in its metadata, or else the file's name.
    :return: the holder's name, by the key: 40 bytes of Z85 text.  One holder may have several keys.
    :raise ConfigurationError: if something is in the way, if anybody may write there, or if one key has two holders.
    """
    place = locate(path)
    names: dict[bytes, str] = {}
    for file, key, name in _named(place):
        holder = names.setdefault(key, name)
        if holder != name:
            raise ConfigurationError(f"{file}: {name!r} has the same key as {holder!r}: a key has one holder")
    return names


def toText(key: bytes) -> bytes:
    """A key of 32 bytes as 40 bytes of Z85 text."""
    return base64.b85encode(key).translate(_TO_Z85)


def fingerprint(path: str | os.PathLike[str]) -> object:
    """
    What changes when a file does, or when a key appears in a directory, goes, or is written anew.

    :param path: as for :func:`loadNames`.
    """
    try:
        place = locate(path)
        return [_stamp(place), *(_stamp(file) for file in _files(place))]
    except (ConfigurationError, OSError):
        return None


def locate(path: str | os.PathLike[str]) -> Path:
    """
    The file that is meant.

    :raise ConfigurationError: if it is a credential, and there are none.
    """
    text = os.fspath(path)
    if not text.startswith(CREDENTIAL):
        return Path(text)
    folder, name = os.environ.get("CREDENTIALS_DIRECTORY"), text.removeprefix(CREDENTIAL)
    if not folder:
        raise ConfigurationError(f"{text}: CREDENTIALS_DIRECTORY is not set: the service manager gives no credentials")
    if name in ("", ".", "..") or "/" in name:
        raise ConfigurationError(f"{text}: {name!r} is not the name of a credential")
    return Path(folder, name)


def writePair(folder: str | os.PathLike[str], name: str) -> tuple[Path, Path]:
    """
    Make a new pair of keys.

    :param name: the names of the files without their endings; it goes into the metadata of both.
    :return: the public certificate, and the one with the secret key, of mode 0600.
    :raise ConfigurationError: if the name is not one, or a file is there already, or cannot be written.
    """
    import zmq

    checkName(name)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    files = Path(folder, f"{name}{PUBLIC}"), Path(folder, f"{name}{SECRET}")
    for file in files:
        if os.path.lexists(file):
            raise ConfigurationError(f"{file} is there already: choose another name, or remove it")
    head = f'metadata\n    name = {name}\ncurve\n    public-key = "{public}"\n'
    _write(files[1], f'# This is a secret: it stays with its owner.\n{head}    secret-key = "{secret}"\n', 0o600)
    try:
        _write(files[0], f"# This is public: give it to whom you want to talk to.\n{head}", 0o644)
    except ConfigurationError:
        files[1].unlink()
        raise
    return files


def checkName(name: str) -> str:
    """
    A name that a file, a user id and a line of a log can bear.

    :raise ConfigurationError: if it is none.
    """
    if not name or not name.isprintable() or name != name.strip() or set(name) & set("/=#\"'") or name[0] in ".-":
        raise ConfigurationError(
            f"{name!r} is not a name: letters, digits, spaces inside and most signs are, but not / = # or quotes, and "
            "it does not begin with a dot or a dash"
        )
    if len(name.encode()) > MAX_NAME - len(SECRET):
        raise ConfigurationError(f"the name {name[:20]!r}... is longer than {MAX_NAME - len(SECRET)} bytes")
    return name


def _named(place: Path) -> Iterator[tuple[Path, bytes, str]]:
    _refuseWritable(place)
    for file in _files(place):
        text = _read(file)
        _refuseWritable(file)
        certificate = _certificate(text)
        if certificate.public or file != place:
            name = certificate.name or file.name.removesuffix(PUBLIC).removesuffix(SECRET)
            yield file, _key(file, "public-key", certificate.public), _holder(file, name)
        else:
            yield from _listed(file, text)


def _listed(file: Path, text: str) -> Iterator[tuple[Path, bytes, str]]:
    """The keys of a file with a line for each."""
    found = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, equals, key = line.partition("=")
            if not equals:
                raise ConfigurationError(f"{file}, line {number}: must be name = key, or a certificate's")
            yield file, _key(file, f"the key in line {number}", _bare(key)), _holder(file, _bare(name))
            found = True
    if not found:
        raise ConfigurationError(f"{file}: there is no key in it")


def _files(place: Path) -> list[Path]:
    try:
        # Not ``is_dir``, which lets some of the system's refusals through, and takes the others for a no.
        if not stat.S_ISDIR(place.stat().st_mode):
            return [place]
        return sorted(each for each in place.iterdir() if each.name.endswith(PUBLIC))
    except OSError as error:
        raise ConfigurationError(f"{place}: {error.strerror}") from None


def _stamp(file: Path) -> tuple[str, int, int, int, int]:
    facts = file.stat()
    # The time of the last change of anything, and the mode, which may change at the same time: a file that could not be
    # read may be readable now, with the same content.
    return file.name, facts.st_ctime_ns, facts.st_mode, facts.st_size, facts.st_ino


def _read(file: Path) -> str:
    try:
        # Not one that never ends, nor one that waits for somebody to write.
        if not stat.S_ISREG(file.stat().st_mode):
            raise ConfigurationError(f"{file}: is not a file")
        with file.open("rb") as opened:
            data = opened.read(MAX_SIZE + 1)
        if len(data) > MAX_SIZE:
            raise ConfigurationError(f"{file}: is larger than {MAX_SIZE} bytes, which is no file of keys")
        return data.decode()
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: is not text, so no certificate") from None


def _certificate(text: str) -> _Certificate:
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() in ("public-key", "secret-key", "name"):
            found.setdefault(name.strip(), _bare(value))
    named = "" if "public-key" not in found else found.get("name", "")
    return _Certificate(found.get("public-key", ""), found.get("secret-key", ""), named)


def _bare(text: str) -> str:
    return text.strip(" \t\"'")


def _key(file: Path, what: str, text: str) -> bytes:
    if not text:
        raise ConfigurationError(f"{file}: there is no {what} in it")
    try:
        key = text.encode("ascii")
        if len(key) == KEY_SIZE and not key.strip(_Z85):
            # Not all groups of five characters stand for four bytes.
            base64.b85decode(key.translate(_FROM_Z85))
            return key
    except ValueError:
        pass
    # Not shown: it may be the wrong half of a pair.
    raise ConfigurationError(f"{file}: {what} is not a key of {KEY_SIZE} characters of Z85")


def _holder(file: Path, name: str) -> str:
    try:
        return checkName(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from None


def _refuseOpen(file: Path) -> None:
    """A secret is for its owner alone; the service manager marks its credentials as the group's to share by ACL."""
    mode = stat.S_IMODE(file.stat().st_mode)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    forbidden = 0o037 if folder and file.parent == Path(folder) else 0o077
    if mode & forbidden:
        raise ConfigurationError(
            f"{file} has mode {mode:04o}, but only its owner may read a secret key: chmod 600 {file}"
        )


def _refuseWritable(place: Path) -> None:
    """Whoever can write a key where they are looked for can let himself in."""
    try:
        mode = stat.S_IMODE(place.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(f"{place}: {error.strerror}") from None
    if mode & stat.S_IWOTH:
        raise ConfigurationError(f"{place} has mode {mode:04o}: anybody could put a key there: chmod o-w {place}")


def _write(file: Path, text: str, mode: int) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with open(descriptor, "w", encoding="utf-8") as opened:
                opened.write(text)
        except OSError:
            file.unlink()
            raise
    except FileExistsError:
        raise ConfigurationError(f"{file} is there already: choose another name, or remove it") from None
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
