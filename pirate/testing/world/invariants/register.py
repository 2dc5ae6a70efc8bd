"""The register: all invariants by number, and what cannot be checked yet."""

from __future__ import annotations

from pirate.testing.world.invariants.base import Invariant
from pirate.testing.world.invariants.calls import (
    AllParts,
    BoundedSends,
    ConnectionCounts,
    InTime,
    LostConnections,
    NothingOpen,
    OneAnswer,
    OneReply,
    OwnReply,
    PartsInOrder,
    RepliesInOrder,
    RepliesWereMade,
    ServerAnswers,
)
from pirate.testing.world.invariants.ends import (
    AnswersBeforeStop,
    FewTimers,
    LinksOver,
    NoUnhandledError,
    Stopped,
    StoppingAcceptsNone,
)
from pirate.testing.world.invariants.executions import (
    AnsweredOnce,
    BoundedExecutions,
    CancelledJobsEnd,
    Credit,
    JobsEnd,
    LongJobsAlone,
    OneExecutionOfAnAttempt,
    RememberedRequests,
    RetiredFinish,
    WholeJobTime,
)
from pirate.testing.world.invariants.logs import (
    AppErrorsLogged,
    FailuresLogged,
    KnownLines,
    LogsComplete,
)
from pirate.testing.world.invariants.pools import (
    ChildrenKnown,
    FewReplaced,
    MaxAge,
    MaxRequests,
    OnlyChildren,
    OutsideKills,
    PoolComplete,
    PoolSize,
    RetiredLeave,
    StartsEnd,
    StoppedWorkers,
)
from pirate.testing.world.invariants.queues import (
    Accounts,
    Alone,
    BegunInTime,
    BoundedBacklog,
    BoundedMemory,
    CacheSize,
    CancelsReach,
    ClientsGone,
    ClientShare,
    ConnectionsClosed,
    CountersRise,
    EndedIsOver,
    FairTurns,
    HeardWhenFull,
    OwnOrder,
    QueueCounts,
    ReadyWorkers,
)
from pirate.testing.world.invariants.requests import (
    BrokerAtRest,
    CountersAddUp,
    Expire,
    HoldersKnown,
    NoneWaitsForNothing,
    NothingLate,
)

#: All invariants, by number.
INVARIANTS: list[type[Invariant]] = [
    OneAnswer,
    InTime,
    OwnReply,
    BoundedExecutions,
    OneExecutionOfAnAttempt,
    RepliesWereMade,
    CountersAddUp,
    PoolSize,
    Stopped,
    NothingOpen,
    NoUnhandledError,
    PartsInOrder,
    LinksOver,
    HoldersKnown,
    ServerAnswers,
    RememberedRequests,
    BrokerAtRest,
    NoneWaitsForNothing,
    PoolComplete,
    BoundedSends,
    NothingLate,
    Credit,
    Expire,
    AnsweredOnce,
    WholeJobTime,
    FairTurns,
    OwnOrder,
    QueueCounts,
    BoundedBacklog,
    ClientShare,
    HeardWhenFull,
    ClientsGone,
    Accounts,
    EndedIsOver,
    BegunInTime,
    Alone,
    ReadyWorkers,
    ConnectionsClosed,
    CacheSize,
    BoundedMemory,
    CancelsReach,
    CountersRise,
    FewReplaced,
    MaxRequests,
    MaxAge,
    RetiredLeave,
    StartsEnd,
    OutsideKills,
    ChildrenKnown,
    OnlyChildren,
    StoppedWorkers,
    JobsEnd,
    CancelledJobsEnd,
    LongJobsAlone,
    AllParts,
    RepliesInOrder,
    OneReply,
    LostConnections,
    ConnectionCounts,
    LogsComplete,
    FailuresLogged,
    AppErrorsLogged,
    KnownLines,
    AnswersBeforeStop,
    StoppingAcceptsNone,
    FewTimers,
    RetiredFinish,
]

#: What should be an invariant, and why it cannot be checked yet.
UNCHECKED: dict[str, str] = {
    "A client behind a proxy gets its own replies.": "There are no proxies in a world.",
    "An app on an event loop, or in threads, keeps what one that is serial keeps.": "Simulated workers are serial.",
    "A worker that is idle keeps nothing of requests that have ended.": "A world does not look into a worker's memory.",
    "Messages stay whole and aligned whatever a peer sends.": "The simulated network carries messages, not bytes; the "
    "fuzzing program and the tests of the transport do this.",
    "No peer holds up the others for longer than 50 ms.": "Code takes no time in a world; the trials measure it.",
    "Descriptors suffice for the server and its workers.": "A simulated process has as many as it wants; the trials "
    "run servers with few.",
    "What was accepted survives a crash.": "There is no store yet.",
    "Only peers with a key are admitted.": "Simulated connections have no keys.",
    "No worker outlives its server, even if it is stopped.": "The kernel's part in it is simulated as it should be.",
}


def statementOf(number: int) -> str:
    """
    Return the statement of an invariant.

    :raise StopIteration: if there is none with this number.
    """
    return next(each.statement for each in INVARIANTS if each.number == number)


def named(number: int, text: str) -> str:
    """
    Return a verdict that names the invariant that does not hold.

    :param text: what was the matter.
    """
    statementOf(number)
    return f"invariant {number}: {text}"
