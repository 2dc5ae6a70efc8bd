"""The checks of the settings that control access: which of them go together."""

from __future__ import annotations

from pirate.errors import ConfigurationError

#: The value of ``curve-clients`` that stands for any key.
ANY = "*"


def checkKeys(secret: str | None, clients: str | None, workers: str | None, external: bool, insecure: bool) -> None:
    """
    Check that the settings ``curve-secret``, ``curve-clients``, ``curve-workers``, ``external-workers`` and
    ``insecure`` go together.

    :raise ConfigurationError: naming the settings that contradict each other.
    """
    conflict = _conflict(secret, clients, workers, external, insecure)
    if conflict:
        raise ConfigurationError(conflict)


def _conflict(secret: str | None, clients: str | None, workers: str | None, external: bool, insecure: bool) -> str:
    if secret is None:
        name = "curve-clients" if clients is not None else "curve-workers"
        unused = clients is None and workers is None
        return "" if unused else f"{name} needs curve-secret, the server's own certificate"
    if secret == ANY:
        return "curve-secret is '*', but must be the path of a file, or credential:NAME"
    if clients is None:
        return "curve-secret needs curve-clients: the keys of the clients that may connect, or '*' for any key"
    if workers == ANY:
        return "curve-workers is '*', but must name the keys of the external workers"
    if workers is not None and not external:
        return "curve-workers needs external-workers, which admits them"
    if workers is None and external:
        return "external-workers needs curve-workers, the keys of those workers, because curve-secret is set"
    if insecure:
        return "insecure contradicts curve-secret: remove one of them"
    return ""
