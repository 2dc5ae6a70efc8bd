"""A rule for requests.  Try it: twistd -n pirate --hooks doorkeeper.Rules"""

from pirate.hooks import Hooks


class Rules(Hooks):
    """Only administrators may ask for the reports; nobody may send more than a kilobyte."""

    administrators = {"alice"}

    def allowRequest(self, context):
        if context.service == "reports" and context.user not in self.administrators:
            return False
        if context.size > 1024:
            return f"{context.size} bytes are too many"
        return True
