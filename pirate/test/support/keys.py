"""A test case with key files."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import ConfigurationError


class KeyCase(SynchronousTestCase):
    """A test case with a folder for keys."""

    def setUp(self) -> None:
        """Make the folder."""
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def credentials(self) -> None:
        """Make the folder the service manager's directory of credentials."""
        self.patch(os, "environ", {**os.environ, "CREDENTIALS_DIRECTORY": str(self.folder)})

    def refused(self, function: object, *arguments: object) -> str:
        """Return the one-line message of the :class:`ConfigurationError` that a function raises."""
        assert callable(function)
        text = str(self.assertRaises(ConfigurationError, function, *arguments))
        self.assertNotIn("\n", text)
        return text
