# -*- test-case-name: pirate.test.broker.test_quota -*-
"""How much each client may ask, with numbers."""

from __future__ import annotations

from time import perf_counter

from twisted.trial.unittest import SynchronousTestCase

from pirate.broker.quota import Account, Quota


class RateTests(SynchronousTestCase):
    """The token bucket."""

    def setUp(self) -> None:
        self.quota = Quota(0, 10, 3)

    def sent(self, client: object, now: float, times: int = 1) -> int:
        """Of so many messages, how many are accepted."""
        return sum(self.quota.refusal(self.quota.account(client, now), now) is None for _ in range(times))

    def test_burst(self) -> None:
        """As many as the burst may come at once, then no more until a token has come back."""
        self.assertEqual(self.sent(1, 100.0, 10), 3)
        self.assertEqual(self.sent(1, 100.05), 0)
        self.assertEqual(self.sent(1, 100.15, 2), 1)

    def test_average(self) -> None:
        """A client that never stops gets its rate, and one that was refused has not paid for it."""
        accepted = sum(self.sent(1, 100 + step / 100) for step in range(1001))
        self.assertIn(accepted, range(102, 105))

    def test_full(self) -> None:
        """A long silence saves up no more than the burst."""
        self.sent(1, 100.0, 3)
        self.assertEqual(self.sent(1, 1000.0, 10), 3)

    def test_apart(self) -> None:
        """What one client sends is not taken from another."""
        self.sent(1, 100.0, 10)
        self.assertEqual(self.sent("somebody", 100.0, 10), 3)

    def test_words(self) -> None:
        """The reason says what is allowed."""
        account = self.quota.account(1, 0.0)
        account.tokens = 0
        self.assertEqual(self.quota.refusal(account, 0.0), "this client may send 10 requests a second, 3 at once")

    def test_commands(self) -> None:
        """What opens no request still takes a token."""
        account = self.quota.account(1, 0.0)
        self.assertEqual(
            [self.quota.refusal(account, 0.0, opens=False) is None for _ in range(4)], [True] * 3 + [False]
        )


class OpenTests(SynchronousTestCase):
    """Requests that wait or are worked on."""

    def test_share(self) -> None:
        """A client with as many as it may have open is refused one more, with their number, until one is done."""
        quota = Quota(2, 0, 1)
        account = quota.account(1, 0.0)
        self.assertIsNone(quota.refusal(account, 0.0))
        account.open = 2
        self.assertEqual(quota.refusal(account, 0.0), "2 requests of this client are open, and no more may be")
        self.assertIsNone(quota.refusal(account, 0.0, opens=False))
        account.open = 1
        self.assertIsNone(quota.refusal(account, 0.0))

    def test_same(self) -> None:
        """A client has one account for as long as something of it is open, however long it is silent."""
        quota = Quota(2, 0, 1)
        account = quota.account(1, 0.0)
        account.open = 1
        for other in range(100):
            quota.account(f"other {other}", 1000.0)
        self.assertIs(quota.account(1, 2000.0), account)

    def test_gone(self) -> None:
        """A connection that is closed leaves nothing to the next that has its number."""
        quota = Quota(1, 0, 1)
        account = quota.account(7, 0.0)
        account.open = 1
        quota.gone(7)
        quota.gone(8)
        self.assertEqual(quota.account(7, 0.0).open, 0)
        account.open -= 1


class MemoryTests(SynchronousTestCase):
    """Nothing grows for ever, and nothing takes longer because there are many."""

    def test_forgotten(self) -> None:
        """Clients that are quiet are forgotten as others come; those with something open stay."""
        quota = Quota(5, 100, 10)
        kept: list[Account] = []
        for number in range(10_000):
            account = quota.account(number, number / 100)
            quota.refusal(account, number / 100)
            if number % 1000 == 0:
                account.open = 1
                kept.append(account)
        self.assertLess(len(quota), 200)
        self.assertIs(quota.account(0, 200.0), kept[0])

    def test_constant(self) -> None:
        """With a hundred thousand clients that are not quiet, each call takes no longer than with a hundred."""

        def cost(clients: int) -> float:
            quota = Quota(5, 1, 10)
            for number in range(clients):
                quota.account(number, 0.0).open = 1
            best = float("inf")
            for _ in range(5):
                began = perf_counter()
                for number in range(200):
                    quota.refusal(quota.account(number % clients, 1.0), 1.0)
                best = min(best, perf_counter() - began)
            return best

        self.assertLess(cost(100_000), 20 * cost(100))
