"""Show the signature of a function instead of its overloads, which repeat it for type checkers."""

from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

_analyze = ModuleAnalyzer.analyze


def withoutOverloads(analyzer: ModuleAnalyzer) -> None:
    """Analyze the source of a module, and forget its overloads."""
    _analyze(analyzer)
    analyzer.overloads.clear()


def setup(app: Sphinx) -> dict[str, Any]:
    """Let autodoc use this analysis."""
    ModuleAnalyzer.analyze = withoutOverloads
    return {"parallel_read_safe": True}
