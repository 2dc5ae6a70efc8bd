"""New key pairs, as ``pirate-keygen`` writes them."""

from __future__ import annotations

import os
from pathlib import Path

from pirate.auth.keys import PUBLIC, SECRET, checkName
from pirate.errors import ConfigurationError


def writePair(folder: str | os.PathLike[str], name: str) -> tuple[Path, Path]:
    """
    Make a key pair and write its two certificates, ``NAME.key`` and ``NAME.key_secret``.

    :param name: the user that owns the pair; both certificates name it in their metadata.
    :return: the path of the public certificate, and that of the certificate with the secret key, which has mode 0600.
    :raise ConfigurationError: if the name is not valid, or if a file exists already or cannot be written.
    """
    import zmq

    checkName(name)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    files = Path(folder, f"{name}{PUBLIC}"), Path(folder, f"{name}{SECRET}")
    for file in files:
        if os.path.lexists(file):
            raise _exists(file)
    head = f'metadata\n    name = {name}\ncurve\n    public-key = "{public}"\n'
    _write(files[1], f'# This key is secret: only its owner may read it.\n{head}    secret-key = "{secret}"\n', 0o600)
    try:
        _write(files[0], f"# This key is public: give it to your peers.\n{head}", 0o644)
    except ConfigurationError:
        files[1].unlink()
        raise
    return files


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
        raise _exists(file) from None
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None


def _exists(file: Path) -> ConfigurationError:
    return ConfigurationError(f"{file} exists already: choose another name, or remove it")
