# -*- test-case-name: pirate.test.auth.test_keys -*-
"""Certificates: what is read from them, and what is refused."""

from __future__ import annotations

import errno
import os
from unittest import mock

import zmq
import zmq.auth
from zmq.utils import z85

from pirate.auth import keys
from pirate.auth.keys import checkName, fingerprint, loadNames, loadPair, loadPublic, locate, toText, writePair
from pirate.test.support.keys import KeyCase


class PairTests(KeyCase):
    """One certificate."""

    def test_written(self) -> None:
        """A new pair is two files, of which the secret one is its owner's alone; both tell whose it is."""
        public, secret = writePair(self.folder, "alice")
        self.assertEqual((public.name, secret.name), ("alice.key", "alice.key_secret"))
        self.assertEqual(secret.stat().st_mode & 0o777, 0o600)
        key, hidden = loadPair(secret)
        self.assertEqual(zmq.curve_public(hidden), key)
        self.assertEqual((loadPublic(public), loadPublic(secret)), (key, key))
        self.assertNotIn(hidden.decode(), public.read_text())
        self.assertEqual(loadNames(self.folder), {key: "alice"})

    def test_maskGivesNothing(self) -> None:
        """The secret's mode does not depend on the umask of whoever makes it."""
        mask = os.umask(0)
        self.addCleanup(os.umask, mask)
        self.assertEqual(writePair(self.folder, "open")[1].stat().st_mode & 0o777, 0o600)

    def test_pyzmqReadsOurs(self) -> None:
        """What is written is pyzmq's format."""
        public, secret = writePair(self.folder, "alice")
        self.assertEqual(zmq.auth.load_certificate(secret), loadPair(secret))
        self.assertEqual(zmq.auth.load_certificate(public), (loadPublic(public), None))

    def test_pyzmqsOwn(self) -> None:
        """Certificates that pyzmq has made are read, its metadata included."""
        public, secret = zmq.auth.create_certificates(self.folder, "bob", {"name": "Bob of Accounts"})
        os.chmod(secret, 0o600)
        self.assertEqual(loadPair(secret), zmq.auth.load_certificate(secret))
        self.assertEqual(loadNames(public), {loadPublic(public): "bob"})
        self.assertEqual(loadNames(secret), {loadPublic(public): "Bob of Accounts"})

    def test_text(self) -> None:
        """A key's 32 bytes are the text that ZeroMQ makes of them."""
        for key in (bytes(32), b"\xff" * 32, bytes(range(32)), os.urandom(32)):
            self.assertEqual(toText(key), z85.encode(key))

    def test_neverOverwrites(self) -> None:
        """No key that is there is lost, whichever half of it is there."""
        for ending in ("key", "key_secret"):
            there = self.write(f"{ending[-2:]}.{ending}", "precious")
            self.assertIn(f"{there} is there already", self.refused(writePair, self.folder, ending[-2:]))
            self.assertEqual(there.read_text(), "precious")
        self.assertEqual(len(list(self.folder.iterdir())), 2)

    def test_nowhere(self) -> None:
        """A folder that is not there is told of."""
        self.assertIn("No such file or directory", self.refused(writePair, self.folder / "no", "alice"))

    def test_othersMayRead(self) -> None:
        """A secret key that others may read is refused, with the mode and what to do; its public half is not."""
        _, secret = writePair(self.folder, "alice")
        for mode in (0o640, 0o604, 0o660, 0o620):
            secret.chmod(mode)
            told = f"{secret} has mode {mode:04o}, but only its owner may read a secret key: chmod 600 {secret}"
            self.assertEqual(self.refused(loadPair, secret), told)
        self.assertEqual(len(loadPublic(secret)), 40)

    def test_credential(self) -> None:
        """A credential of the service manager has the mode that the manager gives it."""
        self.credentials()
        _, secret = writePair(self.folder, "alice")
        secret.chmod(0o440)
        self.assertEqual(loadPair("credential:alice.key_secret"), loadPair(secret))
        secret.chmod(0o444)
        self.assertIn("has mode 0444", self.refused(loadPair, "credential:alice.key_secret"))

    def test_noCredentials(self) -> None:
        """Without a service manager, and with a name that leads elsewhere, there is no credential."""
        self.assertIn("CREDENTIALS_DIRECTORY is not set", self.refused(locate, "credential:a"))
        self.credentials()
        for name in ("", "..", "a/b", "/etc/passwd"):
            self.assertIn("is not the name of a credential", self.refused(locate, f"credential:{name}"))

    def test_meanwhile(self) -> None:
        """A file that somebody else makes at the same moment is not overwritten either."""
        self.patch(os.path, "lexists", lambda path: False)
        for name in ("alice.key", "alice.key_secret"):
            there = self.write(name, "another's")
            self.assertIn(f"{there} is there already", self.refused(writePair, self.folder, "alice"))
            self.assertEqual((os.listdir(self.folder), there.read_text()), ([name], "another's"))
            there.unlink()

    def test_full(self) -> None:
        """When the disk is full, no half of a file is left."""

        def full(descriptor: int, *rest: object, **options: object) -> mock.MagicMock:
            os.close(descriptor)
            opened = mock.MagicMock()
            opened.__enter__.return_value.write.side_effect = OSError(errno.ENOSPC, "No space left on device")
            opened.__exit__.return_value = False
            return opened

        with mock.patch.object(keys, "open", full, create=True):
            self.assertIn("No space left on device", self.refused(writePair, self.folder, "alice"))
        self.assertEqual(os.listdir(self.folder), [])

    def test_noPair(self) -> None:
        """Halves of two pairs are refused: every handshake would fail without a word."""
        one, other = zmq.curve_keypair(), zmq.curve_keypair()
        text = f'curve\n public-key = "{one[0].decode()}"\n secret-key = "{other[1].decode()}"\n'
        told = self.refused(loadPair, self.write("mixed", text, 0o600))
        self.assertIn("its public-key does not belong to its secret-key", told)
        self.assertNotIn(other[1].decode(), told)

    def test_useless(self) -> None:
        """Each way in which a file is no certificate has its line, and none shows what might be a secret."""
        public, _secret = writePair(self.folder, "alice")
        public.chmod(0o600)
        self.assertEqual(self.refused(loadPair, public), f"{public}: there is no secret-key in it")
        self.assertIn("No such file", self.refused(loadPair, self.folder / "none"))
        self.assertIn("is not a file", self.refused(loadPair, self.folder))
        self.assertIn("is not a file", self.refused(loadPublic, "/dev/zero"))
        self.assertIn("there is no public-key in it", self.refused(loadPublic, self.write("empty", "")))
        short = self.write("short", 'curve\n  public-key = "abc"\n')
        self.assertEqual(self.refused(loadPublic, short), f"{short}: public-key is not a key of 40 characters of Z85")
        # Five of the last character would be more than four bytes.
        for text in ("#" * 40, "\N{LATIN SMALL LETTER E WITH ACUTE}" * 40, "_" * 40):
            self.assertIn("is not a key", self.refused(loadPublic, self.write("none", f'public-key = "{text}"')))
        (self.folder / "binary").write_bytes(b"\xff\xfe")
        self.assertIn("is not text", self.refused(loadPublic, self.folder / "binary"))
        self.assertIn("larger than", self.refused(loadPublic, self.write("large", "#" * (1 << 20) + "#")))


class NameTests(KeyCase):
    """Whose keys they are."""

    def keys(self, count: int) -> list[str]:
        """Some public keys."""
        return [zmq.curve_keypair()[0].decode() for _ in range(count)]

    def test_lines(self) -> None:
        """One file may list many keys: a name, an equals sign, a key; a key may have an equals sign too."""
        one, two = self.keys(2)
        odd = "=" * 40
        self.assertEqual(len(z85.decode(odd.encode())), 32)
        path = self.write("list", f'# whose they are\n\nalice = {one}\n  bob the second="{two}"  \nalice = {odd}\n')
        expected = {one.encode(): "alice", two.encode(): "bob the second", odd.encode(): "alice"}
        self.assertEqual(loadNames(path), expected)

    def test_badLines(self) -> None:
        """A line that is not understood is named by its number, and its key is not shown."""
        (key,) = self.keys(1)
        told = self.refused(loadNames, self.write("list", f"alice = {key}\nbob = {key[:-1]}\n"))
        self.assertIn("the key in line 2 is not a key", told)
        self.assertNotIn(key[:-1], told)
        self.assertIn("line 1: must be name = key", self.refused(loadNames, self.write("list", key.replace("=", "x"))))
        self.assertIn("there is no key in it", self.refused(loadNames, self.write("list", "# nothing\n")))

    def test_twoHolders(self) -> None:
        """A key that two claim is nobody's: who is it that calls?"""
        (key,) = self.keys(1)
        told = self.refused(loadNames, self.write("list", f"alice = {key}\nbob = {key}\n"))
        self.assertIn("'bob' has the same key as 'alice'", told)

    def test_directory(self) -> None:
        """Of a directory it is the public certificates that count; one without any admits nobody yet."""
        self.assertEqual(loadNames(self.folder), {})
        writePair(self.folder, "alice")
        (key,) = self.keys(1)
        self.write("file name.key", f'metadata\n    name = "Bob"\ncurve\n    public-key = "{key}"\n')
        self.write("README", "no key")
        self.assertEqual(sorted(loadNames(self.folder).values()), ["Bob", "alice"])
        self.write("broken.key", "")
        self.assertIn("broken.key: there is no public-key in it", self.refused(loadNames, self.folder))

    def test_outOfReach(self) -> None:
        """What the system does not even let be looked at is refused in one line, like what is not there."""
        for name, reason in (("none", "No such file or directory"), ("x" * 300, "File name too long")):
            place = self.folder / name
            self.assertEqual(self.refused(loadNames, place), f"{place}: {reason}")

    def test_writable(self) -> None:
        """Keys where anybody could put another one are refused, be it the directory, one of its files, or a list."""
        public, _ = writePair(self.folder, "alice")
        public.chmod(0o666)
        told = f"{public} has mode 0666: anybody could put a key there: chmod o-w {public}"
        self.assertEqual((self.refused(loadNames, self.folder), self.refused(loadNames, public)), (told, told))
        public.chmod(0o664)
        self.assertEqual(list(loadNames(self.folder).values()), ["alice"])
        self.folder.chmod(0o1777)
        self.assertIn(f"{self.folder} has mode 1777", self.refused(loadNames, self.folder))

    def test_names(self) -> None:
        """A name can stand in a path, in a log and in a header; what cannot is refused."""
        for name in ("alice", "Müller & Söhne", "a.b-c_d", "x" * 244):
            self.assertEqual(checkName(name), name)
        for name in ("", " a", "a/b", "..", ".a", "-a", "a=b", "a\nb", "a\x1b[31m", "a#", '"a"', "x" * 245):
            self.refused(checkName, name)
        self.assertIn("is not a name", self.refused(writePair, self.folder, "../alice"))
        (key,) = self.keys(1)
        bad = self.write("a.key", f'metadata\n    name = a\x1b[2J\ncurve\n    public-key = "{key}"\n')
        self.assertIn(f"{bad}: 'a\\x1b[2J' is not a name", self.refused(loadNames, bad))

    def test_fingerprint(self) -> None:
        """It changes when a key appears, is written anew, may be read by others or goes, and at nothing else."""
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
