# -*- test-case-name: pirate.test.auth.test_keys -*-
"""Tests of certificates and key files."""

from __future__ import annotations

import errno
import os
from unittest import mock

import zmq
import zmq.auth
from zmq.utils import z85

from pirate.auth import keygen
from pirate.auth.keygen import writePair
from pirate.auth.keys import checkName, fingerprint, loadPair, loadPublic, loadUsers, locate, toText
from pirate.test.support.keys import KeyCase


class PairTests(KeyCase):
    """A key pair in its two certificates."""

    def test_written(self) -> None:
        """``writePair`` writes two files: both name the user, and only the owner may read the secret one."""
        public, secret = writePair(self.folder, "alice")
        self.assertEqual((public.name, secret.name), ("alice.key", "alice.key_secret"))
        self.assertEqual(secret.stat().st_mode & 0o777, 0o600)
        key, hidden = loadPair(secret)
        self.assertEqual(zmq.curve_public(hidden), key)
        self.assertEqual((loadPublic(public), loadPublic(secret)), (key, key))
        self.assertNotIn(hidden.decode(), public.read_text())
        self.assertEqual(loadUsers(self.folder), {key: "alice"})

    def test_umask(self) -> None:
        """The mode of the secret certificate does not depend on the umask."""
        mask = os.umask(0)
        self.addCleanup(os.umask, mask)
        self.assertEqual(writePair(self.folder, "open")[1].stat().st_mode & 0o777, 0o600)

    def test_pyzmqReadsOurs(self) -> None:
        """pyzmq reads the certificates that ``writePair`` writes."""
        public, secret = writePair(self.folder, "alice")
        self.assertEqual(zmq.auth.load_certificate(secret), loadPair(secret))
        self.assertEqual(zmq.auth.load_certificate(public), (loadPublic(public), None))

    def test_readsPyzmqs(self) -> None:
        """Certificates that pyzmq writes are read, with their metadata."""
        public, secret = zmq.auth.create_certificates(self.folder, "bob", {"name": "Bob of Accounts"})
        os.chmod(secret, 0o600)
        self.assertEqual(loadPair(secret), zmq.auth.load_certificate(secret))
        self.assertEqual(loadUsers(public), {loadPublic(public): "bob"})
        self.assertEqual(loadUsers(secret), {loadPublic(public): "Bob of Accounts"})

    def test_text(self) -> None:
        """``toText`` agrees with pyzmq's Z85 encoder."""
        for key in (bytes(32), b"\xff" * 32, bytes(range(32)), os.urandom(32)):
            self.assertEqual(toText(key), z85.encode(key))

    def test_neverOverwrites(self) -> None:
        """``writePair`` never overwrites either half of an existing pair."""
        for ending in ("key", "key_secret"):
            there = self.write(f"{ending[-2:]}.{ending}", "precious")
            self.assertIn(f"{there} exists already", self.refused(writePair, self.folder, ending[-2:]))
            self.assertEqual(there.read_text(), "precious")
        self.assertEqual(len(list(self.folder.iterdir())), 2)

    def test_nowhere(self) -> None:
        """A missing folder is reported."""
        self.assertIn("No such file or directory", self.refused(writePair, self.folder / "no", "alice"))

    def test_readableByOthers(self) -> None:
        """A secret key that others may read is refused, with its mode and a remedy; its public half is still read."""
        _, secret = writePair(self.folder, "alice")
        for mode in (0o640, 0o604, 0o660, 0o620):
            secret.chmod(mode)
            message = f"{secret} has mode {mode:04o}, but only its owner may read a secret key: chmod 600 {secret}"
            self.assertEqual(self.refused(loadPair, secret), message)
        self.assertEqual(len(loadPublic(secret)), 40)

    def test_credential(self) -> None:
        """A credential may have the mode that the service manager gives it, but no wider one."""
        self.credentials()
        _, secret = writePair(self.folder, "alice")
        secret.chmod(0o440)
        self.assertEqual(loadPair("credential:alice.key_secret"), loadPair(secret))
        secret.chmod(0o444)
        self.assertIn("has mode 0444", self.refused(loadPair, "credential:alice.key_secret"))

    def test_noCredentials(self) -> None:
        """A credential is refused if there is no service manager, or if its name leads to another directory."""
        self.assertIn("CREDENTIALS_DIRECTORY is not set", self.refused(locate, "credential:a"))
        self.credentials()
        for name in ("", "..", "a/b", "/etc/passwd"):
            self.assertIn("is not the name of a credential", self.refused(locate, f"credential:{name}"))

    def test_race(self) -> None:
        """A file that appears after the check is not overwritten either."""
        self.patch(os.path, "lexists", lambda path: False)
        for name in ("alice.key", "alice.key_secret"):
            there = self.write(name, "another's")
            self.assertIn(f"{there} exists already", self.refused(writePair, self.folder, "alice"))
            self.assertEqual((os.listdir(self.folder), there.read_text()), ([name], "another's"))
            there.unlink()

    def test_full(self) -> None:
        """If the disk is full, no incomplete file stays behind."""

        def full(descriptor: int, *rest: object, **options: object) -> mock.MagicMock:
            os.close(descriptor)
            opened = mock.MagicMock()
            opened.__enter__.return_value.write.side_effect = OSError(errno.ENOSPC, "No space left on device")
            opened.__exit__.return_value = False
            return opened

        with mock.patch.object(keygen, "open", full, create=True):
            self.assertIn("No space left on device", self.refused(writePair, self.folder, "alice"))
        self.assertEqual(os.listdir(self.folder), [])

    def test_mismatch(self) -> None:
        """The halves of two pairs are refused: every handshake would fail silently."""
        one, other = zmq.curve_keypair(), zmq.curve_keypair()
        text = f'curve\n public-key = "{one[0].decode()}"\n secret-key = "{other[1].decode()}"\n'
        message = self.refused(loadPair, self.write("mixed", text, 0o600))
        self.assertIn("the public-key does not match the secret-key", message)
        self.assertNotIn(other[1].decode(), message)

    def test_invalid(self) -> None:
        """Each kind of invalid certificate has a message of its own, and none shows what may be a secret."""
        public, _secret = writePair(self.folder, "alice")
        public.chmod(0o600)
        self.assertEqual(self.refused(loadPair, public), f"{public}: it contains no secret-key")
        self.assertIn("No such file", self.refused(loadPair, self.folder / "none"))
        self.assertIn("is not a regular file", self.refused(loadPair, self.folder))
        self.assertIn("is not a regular file", self.refused(loadPublic, "/dev/zero"))
        self.assertIn("it contains no public-key", self.refused(loadPublic, self.write("empty", "")))
        short = self.write("short", 'curve\n  public-key = "abc"\n')
        self.assertEqual(self.refused(loadPublic, short), f"{short}: public-key is not a key of 40 characters of Z85")
        # Five times the last character stands for more than four bytes.
        for text in ("#" * 40, "\N{LATIN SMALL LETTER E WITH ACUTE}" * 40, "_" * 40):
            self.assertIn("is not a key", self.refused(loadPublic, self.write("none", f'public-key = "{text}"')))
        (self.folder / "binary").write_bytes(b"\xff\xfe")
        self.assertIn("is not a text file", self.refused(loadPublic, self.folder / "binary"))
        self.assertIn("larger than", self.refused(loadPublic, self.write("large", "#" * (1 << 20) + "#")))


class NameTests(KeyCase):
    """Public keys and the users that own them."""

    def keys(self, count: int) -> list[str]:
        """Make public keys."""
        return [zmq.curve_keypair()[0].decode() for _ in range(count)]

    def test_lines(self) -> None:
        """A file may list many keys as ``name = key``; a key may contain an equals sign."""
        one, two = self.keys(2)
        odd = "=" * 40
        self.assertEqual(len(z85.decode(odd.encode())), 32)
        path = self.write("list", f'# the users\n\nalice = {one}\n  bob the second="{two}"  \nalice = {odd}\n')
        expected = {one.encode(): "alice", two.encode(): "bob the second", odd.encode(): "alice"}
        self.assertEqual(loadUsers(path), expected)

    def test_badLines(self) -> None:
        """An invalid line is named by its number, and the message does not show the key."""
        (key,) = self.keys(1)
        message = self.refused(loadUsers, self.write("list", f"alice = {key}\nbob = {key[:-1]}\n"))
        self.assertIn("the key in line 2 is not a key", message)
        self.assertNotIn(key[:-1], message)
        self.assertIn(
            "line 1: must be a line of a certificate, or name = key",
            self.refused(loadUsers, self.write("list", key.replace("=", "x"))),
        )
        self.assertIn("it contains no key", self.refused(loadUsers, self.write("list", "# nothing\n")))

    def test_sharedKey(self) -> None:
        """A key that two users share is refused, because it would not tell which of them calls."""
        (key,) = self.keys(1)
        message = self.refused(loadUsers, self.write("list", f"alice = {key}\nbob = {key}\n"))
        self.assertIn("'bob' has the same key as 'alice'", message)

    def test_directory(self) -> None:
        """A directory counts by its public certificates; an empty one admits no client yet."""
        self.assertEqual(loadUsers(self.folder), {})
        writePair(self.folder, "alice")
        (key,) = self.keys(1)
        self.write("file name.key", f'metadata\n    name = "Bob"\ncurve\n    public-key = "{key}"\n')
        self.write("README", "no key")
        self.assertEqual(sorted(loadUsers(self.folder).values()), ["Bob", "alice"])
        self.write("broken.key", "")
        self.assertIn("broken.key: it contains no public-key", self.refused(loadUsers, self.folder))

    def test_unreachable(self) -> None:
        """A missing path, and one that the system refuses to look up, are refused in one line."""
        for name, reason in (("none", "No such file or directory"), ("x" * 300, "File name too long")):
            place = self.folder / name
            self.assertEqual(self.refused(loadUsers, place), f"{place}: {reason}")

    def test_writable(self) -> None:
        """Keys to which anyone could add one are refused: in a directory, a certificate, or a list."""
        public, _ = writePair(self.folder, "alice")
        public.chmod(0o666)
        message = f"{public} has mode 0666, so anyone could add a key: chmod o-w {public}"
        self.assertEqual((self.refused(loadUsers, self.folder), self.refused(loadUsers, public)), (message, message))
        public.chmod(0o664)
        self.assertEqual(list(loadUsers(self.folder).values()), ["alice"])
        self.folder.chmod(0o1777)
        self.assertIn(f"{self.folder} has mode 1777", self.refused(loadUsers, self.folder))

    def test_names(self) -> None:
        """A valid name can be part of a path, a log line and a header; any other is refused."""
        for name in ("alice", "Müller & Söhne", "a.b-c_d", "x" * 244):
            self.assertEqual(checkName(name), name)
        for name in ("", " a", "a/b", "..", ".a", "-a", "a=b", "a\nb", "a\x1b[31m", "a#", '"a"', "x" * 245):
            self.refused(checkName, name)
        self.assertIn("is not a valid name", self.refused(writePair, self.folder, "../alice"))
        (key,) = self.keys(1)
        bad = self.write("a.key", f'metadata\n    name = a\x1b[2J\ncurve\n    public-key = "{key}"\n')
        self.assertIn(f"{bad}: 'a\\x1b[2J' is not a valid name", self.refused(loadUsers, bad))

    def test_fingerprint(self) -> None:
        """The fingerprint changes when a key appears, disappears, or changes its content or mode, and only then."""
        seen = [fingerprint(self.folder)]
        public, _ = writePair(self.folder, "alice")
        seen.append(fingerprint(self.folder))
        self.assertEqual(fingerprint(self.folder), seen[-1])
        public.write_text(public.read_text() + "\n")
        seen.append(fingerprint(self.folder))
        public.chmod(0o600)
        seen.append(fingerprint(self.folder))
        public.unlink()
        seen.append(fingerprint(self.folder))
        (self.folder / "alice.key_secret").unlink()
        self.folder.rmdir()
        seen.append(fingerprint(self.folder))
        self.folder.mkdir()
        self.assertEqual(len({repr(each) for each in seen}), len(seen))
        self.assertEqual(fingerprint("credential:x"), None)
