"""Who gets in: why somebody does not, and which settings about it go together."""

from __future__ import annotations

from enum import StrEnum

#: Stands for any key.
ANY = "*"


class Refusal(StrEnum):
    """Why somebody may not connect."""

    #: The address is in ``deny``.
    DENIED = "address-denied"
    #: There is an ``allow``, and the address is not in it.
    NOT_ALLOWED = "address-not-allowed"
    #: There is a ``deny`` or an ``allow``, and ZeroMQ does not know the address.
    NO_ADDRESS = "address-unknown"
    #: The key is not among those that are listed.
    KEY = "unknown-key"
    #: Something else than a key was shown where keys are asked for, or something where nothing is.
    MECHANISM = "wrong-mechanism"
    #: Not a question that is asked here.
    DOMAIN = "unknown-domain"


def contradiction(secret: str | None, clients: str | None, workers: str | None, external: bool, insecure: bool) -> str:
    """
    What is wrong with the settings ``curve-secret``, ``curve-clients``, ``curve-workers``, ``external-workers`` and
    ``insecure``, in one line; empty if nothing is.
    """
    if secret is None:
        name = "curve-clients" if clients is not None else "curve-workers"
        needless = clients is None and workers is None
        return "" if needless else f"{name} needs curve-secret, the server's own certificate"
    if secret == ANY:
        return "curve-secret is '*', but must be the path of a file, or credential:NAME"
    if clients is None:
        return "curve-secret needs curve-clients: the keys of those who may call, or '*' for any key"
    if workers == ANY:
        return "curve-workers is '*', but must name the keys of the external workers"
    if workers is not None and not external:
        return "curve-workers needs external-workers, which lets them in"
    if workers is None and external:
        return "external-workers needs curve-workers, their keys, when there is a curve-secret"
    if insecure:
        return "insecure contradicts curve-secret: leave one of them out"
    return ""
