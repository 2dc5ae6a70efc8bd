"""Our own workers send what no worker should send."""

from __future__ import annotations

from itertools import count
from time import sleep

from trials.case import Case, Trial, Verdict
from trials.load import NativeLoad
from trials.served import Server

#: Seconds that a request may wait for its answer.
WAIT = 2.0


def malformed(trial: Trial) -> Verdict:
    """Let an app reach for its worker's socket, and send malformed messages, while a client asks something else."""
    server = Server(trial.stage, 4, "--max-requests=0").ready()
    shapes = count()
    bad = NativeLoad(server.frontend, lambda: (b"malformed", b"%d" % next(shapes)), 2)
    good = NativeLoad(server.frontend, lambda: (b"echo",), 16)
    with good, bad:
        sleep(trial.seconds)
    stats = server.stats()
    verdict = Verdict([f"11: {text}" for text in good.answers.faults(WAIT)])
    # Some of the messages are errors, or replies without anything in them: each counts as the answer.
    bad.answers.foreign = bad.answers.doubled = 0
    verdict.faults += [f"11: of the apps that do it: {text}" for text in bad.answers.faults(WAIT)]
    if set(good.answers.outcomes) - {"reply"}:
        verdict.faults.append(f"11: outcomes were {dict(good.answers.outcomes)}")
    broken = server.broken()
    if broken:
        verdict.faults.append(f"11: the log says {broken[0]!r}, and {len(broken) - 1} more")
    if not stats["dropped"]:
        verdict.faults.append("11: nothing was counted as dropped")
    verdict.facts += [f"{good.answers.total()} replies", f"{bad.answers.total()} malformed messages"]
    return verdict


MALFORMED = Case("malformed", "11: our own workers send malformed messages", malformed)
