"""A rule for requests.  Try it: twistd -n pirate --hooks doorkeeper.Rules"""

from pirate.hooks import Hooks, RequestFacts


class Rules(Hooks):
    """Only administrators may call the service "reports", and no request may exceed a kilobyte."""

    administrators = {"alice"}

    def allowRequest(self, context: RequestFacts) -> bool | str:
        if context.service == "reports" and context.user not in self.administrators:
            return False
        if context.size > 1024:
            return f"{context.size} bytes are too many"
        return True
