"""Sphinx's settings.  Build with: sphinx-build -W -b html docs docs/_build/html"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent)]

import pirate  # noqa: E402

project = "pirate"
version = release = pirate.__version__
copyright = "the pirate authors"

extensions = ["sphinx.ext.autodoc", "overloads", "settingstable", "invariantstable", "statediagram", "diagrams"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"pirate {version}"
highlight_language = "default"

#: For sphinx-build -b man: page, name, description, authors, section.
man_pages = [
    ("reference/pirate-client", "pirate-client", "call a pirate server from the shell", "", 1),
    ("reference/pirate-keygen", "pirate-keygen", "make CURVE key pairs", "", 1),
]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True

# Every cross-reference must lead somewhere, but for those into other projects, whose pages a build does not fetch.
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"(<InterfaceClass )?(twisted|zope|zmq|collections|concurrent|typing)\..*"),
    ("py:.*", r"(Callable|Deferred|Exception|(Call)?Future)"),
    # Modules that are not public, whose types appear in signatures.
    ("py:class", r"pirate\.(auth|broker|pool|server|transport|wire|worker)\..*"),
    # Type variables, and an alias.
    ("py:class", r"(pirate\.client\..*\.)?(Item|Reply|Reply_co|Result|CodecName)"),
]
