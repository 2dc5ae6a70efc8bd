"""Apps that print without end, and apps whose errors are many or long: what does a client wait that does neither?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from threading import Thread
from time import monotonic, sleep

from trials.case import Case, Trial, Verdict
from trials.load import NativeLoad, askOnce
from trials.neighbour import Neighbours, Window
from trials.served import Server

#: Lines that a server may log in a second, however much its workers print or raise; at ``--log-level 0``, in all.
LINES, QUIET_LINES = 500, 50
#: MiB that a server may grow by while its workers print.
GROWTH = 32
#: How much longer a good client may wait beside errors than beside as many good answers.
FACTOR = 2
#: How many good answers an error may cost.
COST = 5
#: Requests that the client whose requests fail has under way.
OUTSTANDING = 16

#: What is asked for at once, in turn.
PRINTING = ((b"print",), (b"lines",), (b"babble", b"babble"))


def output(trial: Trial, *, quiet: bool = False) -> Verdict:
    """
    Let workers print while a client asks that prints nothing.

    :param quiet: whether the server is to log errors only.
    """
    # One that prints may be held back for as long as it likes to print: there is a worker for each, and one more.
    workers = sum(map(len, PRINTING)) + 1
    server = Server(trial.stage, workers, "--max-requests=0", *(["--log-level=0"] if quiet else []))
    neighbours = Neighbours(trial.stage, server)
    memory = server.memory()
    began = monotonic()
    windows = {
        b" and ".join(deeds).decode(): _while(server, deeds, trial.seconds / len(PRINTING)) for deeds in PRINTING
    }
    spent = monotonic() - began
    neighbours.end()
    verdict = Verdict()
    for deeds, window in windows.items():
        longest = neighbours.longest(window)
        verdict.limit(
            f"2: beside {deeds} a client waited", longest * 1000, (trial.stall + neighbours.noise()) * 1000, "ms"
        )
    verdict.limit("2: lines logged", len(server.logged()), QUIET_LINES if quiet else LINES * spent, "")
    verdict.limit("2: the server grew by", server.memory() - memory, GROWTH, "MiB")
    if neighbours.here.wrong:
        verdict.faults.append(f"2: {neighbours.here.wrong} wrong answers")
    return verdict


def _while(server: Server, deeds: Sequence[bytes], seconds: float) -> Window:
    """
    Ask for deeds, all at once, and wait for their ends, or for so many seconds.

    :return: when that was.
    """
    began = monotonic()
    threads = [Thread(target=partial(askOnce, server.frontend, deed, within=seconds)) for deed in deeds]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return began, monotonic()


def errors(trial: Trial) -> Verdict:
    """Let one client's requests succeed for a while, then fail, as fast as they can, beside a good client."""
    seconds = trial.seconds / 2
    server = Server(trial.stage, 3, "--max-requests=0")
    neighbours = Neighbours(trial.stage, server)
    good, goodWindow = _ask(server, b"echo", seconds)
    before = len(server.logged())
    bad, badWindow = _ask(server, b"fail", seconds)
    # What is counted is logged a little later.
    sleep(1)
    logged = len(server.logged()) - before
    neighbours.end()
    verdict = Verdict()
    # The machine may have been busier in one of both halves.
    noisier = neighbours.noiseMedian(badWindow) / max(neighbours.noiseMedian(goodWindow), 1e-6)
    most = FACTOR * neighbours.here.median(goodWindow) * max(noisier, 1)
    verdict.limit("3: a neighbour's median wait", neighbours.here.median(badWindow) * 1e6, most * 1e6, "us")
    limit = trial.stall + neighbours.noise()
    verdict.limit("3: a neighbour waited", neighbours.longest(badWindow) * 1000, limit * 1000, "ms")
    verdict.limit("3: lines logged", logged, LINES * seconds, "")
    rates = [load.answers.total() / (window[1] - window[0]) for load, window in ((good, goodWindow), (bad, badWindow))]
    verdict.limit("3: an error costs as many good answers:", rates[0] / max(rates[1], 1), COST, "")
    verdict.facts.append("{:,.0f} good answers/s, {:,.0f} errors/s".format(*rates))
    if set(good.answers.outcomes) - {"reply"} or set(bad.answers.outcomes) - {"app-error"}:
        verdict.faults.append(f"3: outcomes were {dict(good.answers.outcomes)} and {dict(bad.answers.outcomes)}")
    for each in (good, bad):
        verdict.faults += [f"3: {text}" for text in each.answers.faults(limit=seconds)]
    return verdict


def _ask(server: Server, deed: bytes, seconds: float) -> tuple[NativeLoad, Window]:
    """Keep requests for a deed under way for so many seconds."""
    began = monotonic()
    with ExitStack() as stack:
        load = stack.enter_context(NativeLoad(server.frontend, lambda: (deed,), OUTSTANDING))
        sleep(seconds)
        ended = monotonic()
    return load, (began, ended)


OUTPUTS = (
    Case("output", "2: workers print as fast as they can, and raise errors of 100,000 lines", output),
    Case("quiet", "2: the same with --log-level 0", partial(output, quiet=True)),
    Case("errors", "3: an app raises at full speed", errors),
)
