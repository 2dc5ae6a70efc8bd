"""A case with files of keys."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pirate.errors import ConfigurationError


class KeyCase(SynchronousTestCase):
    """A folder of keys."""

    def setUp(self) -> None:
        """Make the folder."""
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def credentials(self) -> None:
        """The folder is the service manager's."""
        self.patch(os, "environ", {**os.environ, "CREDENTIALS_DIRECTORY": str(self.folder)})

    def refused(self, function: object, *arguments: object) -> str:
        """The one line with which something is refused."""
        assert callable(function)
        text = str(self.assertRaises(ConfigurationError, function, *arguments))
        self.assertNotIn("\n", text)
        return text
