"""Show the signature of a function instead of its overloads, which repeat it for type checkers."""

from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer


class OneSignature(ModuleAnalyzer):
    """An analyzer that forgets overloads."""

    def analyze(self) -> None:
        """Analyze the source of a module."""
        super().analyze()
        self.overloads.clear()


def setup(app: Sphinx) -> dict[str, Any]:
    """Have autodoc use the analyzer."""
    ModuleAnalyzer.analyze = OneSignature.analyze
    return {"parallel_read_safe": True}
