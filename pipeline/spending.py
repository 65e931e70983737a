"""What paid servers may cost: prices, and a ledger that stops calls before a ceiling is passed.

A call reserves the most that it can cost before it is sent, and settles what it did cost with the server's
count of tokens. A call whose end is not known (a connection that broke, a process that was killed) keeps its
reservation. The ledger holds no keys.
"""

from __future__ import annotations

import sqlite3
import threading
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from pipeline.json_files import check_format
from pipeline.schema import LabError, Price
from pipeline.settings import ASSETS, Settings

_VERSION = 1  # of the ledger's layout
_AROUND = 64
"""Tokens that a chat protocol puts around a prompt, at most."""
_MOST_TOKENS = 10**9  # a larger count is a server's mistake


class OverBudget(LabError):
    """A call that could pass a ceiling, and was not sent."""


def price_of(settings: Settings, model: str, base_url: str) -> Price | None:
    """What a model costs on a server: by ``RCL_PRICES``, else OpenAI's list; None if it is not known."""
    if own := settings.prices.get(model) or settings.prices.get("*"):
        return own
    if urlsplit(base_url).hostname != "api.openai.com":
        return None
    table = tomllib.loads((ASSETS / "judge_prices.toml").read_text(encoding="utf-8"))
    row = table["usd_per_million_tokens"].get(model)
    return Price(row["input"], row["output"], table["date"].isoformat()) if row else None


def require_price(settings: Settings, model: str, base_url: str) -> Price:
    """The price of a model that is to be paid under a budget.

    Raises:
        LabError: it is not known.
    """
    if found := price_of(settings, model, base_url):
        return found
    raise LabError(
        f"The price of {model} at {base_url} is not known, so a budget cannot hold. Set it in US dollars for "
        f'a million tokens, read/written: RCL_PRICES="{model}=2.50/10". For a server that costs nothing: '
        f'RCL_PRICES="{model}=0/0".'
    )


class Ledger:
    """The month's calls and what they cost, in an SQLite file that several processes may share.

    Args:
        folder: where the file is.
        per_month: ceiling of a calendar month (UTC) in US dollars; None for none.
        per_run: ceiling of one run in US dollars; None for none.

    Raises:
        LabError: the file cannot be used; better to stop than to spend without a count.
    """

    def __init__(self, folder: Path, per_month: float | None, per_run: float | None) -> None:
        self._file = folder / "spending.sqlite"
        self._per_month, self._per_run = per_month, per_run
        with self._open() as base:
            base.execute("BEGIN IMMEDIATE")
            (version,) = base.execute("PRAGMA user_version").fetchone()
            if version:
                check_format(f"The ledger {self._file}", version, _VERSION)
            else:
                base.execute(
                    "CREATE TABLE calls (id INTEGER PRIMARY KEY, month TEXT, run TEXT, model TEXT, usd REAL)"
                )
                base.execute("CREATE INDEX by_month ON calls (month, usd)")
                base.execute("CREATE INDEX by_run ON calls (run, usd)")
                base.execute(f"PRAGMA user_version = {_VERSION}")

    def reserve(self, run: str, model: str, usd: float) -> int:
        """Write down a call that is about to be sent, with the most that it can cost; returns its number.

        Raises:
            OverBudget: with it, a ceiling could be passed. Nothing is written.
        """
        month = f"{datetime.now(UTC):%Y-%m}"
        with self._open() as base:
            base.execute("BEGIN IMMEDIATE")  # no other process counts until this call is written
            if self._per_month is not None and _sum(base, "month", month) + usd > self._per_month:
                raise OverBudget(
                    f"The budget of this month, ${self._per_month:,.2f} (RCL_JUDGE_BUDGET), is used up: "
                    "another call could pass it. Resume with a larger budget, or next month."
                )
            if self._per_run is not None and run and _sum(base, "run", run) + usd > self._per_run:
                raise OverBudget(
                    f"The budget of one run, ${self._per_run:,.2f} (RCL_RUN_BUDGET), is used up: another "
                    "call could pass it. Resume with a larger budget."
                )
            row = base.execute(
                "INSERT INTO calls (month, run, model, usd) VALUES (?, ?, ?, ?)", (month, run, model, usd)
            )
            return int(row.lastrowid or 0)

    def settle(self, call: int, usd: float) -> None:
        """Replace a call's reservation by what it cost."""
        with self._open() as base:
            base.execute("UPDATE calls SET usd = ? WHERE id = ?", (usd, call))

    def spent(self) -> float:
        """US dollars of this month, reservations of calls that have not ended included."""
        with self._open() as base:
            return _sum(base, "month", f"{datetime.now(UTC):%Y-%m}")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=60)) as base, base:
                yield base
        except (sqlite3.Error, OSError) as error:
            raise LabError(
                f"The ledger {self._file} cannot be used: {error}. Nothing is sent to a paid server without "
                "it. If the file is damaged, move it away; the month's spending is then counted from 0."
            ) from error


def _sum(base: sqlite3.Connection, column: str, value: str) -> float:
    (usd,) = base.execute(f"SELECT total(usd) FROM calls WHERE {column} = ?", (value,)).fetchone()
    return float(usd)


@dataclass
class Bill:
    """What one call costs, in tokens read and written.

    Attributes:
        most: that it can cost.
        tokens: that it did cost; None while nothing is known.
    """

    most: tuple[int, int]
    tokens: tuple[int, int] | None = None

    def read(self, usage: Any) -> None:
        """Take the counts of a reply's ``usage``, if it has any."""
        read, written = getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
        if _is_count(read) and _is_count(written):
            self.tokens = read, written


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value < _MOST_TOKENS


@dataclass
class Purse:
    """What one run, or the page, pays a server's calls from."""

    settings: Settings
    base_url: str
    ledger: Ledger
    run: str = ""
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _open: int = 0

    def reserve(self, model: str, usd: float) -> int:
        """Reserve the most that a call can cost; see ``Ledger.reserve``.

        While other calls of this purse are under way, they may settle for less than they reserved: wait.
        """
        with self._changed:
            while True:
                try:
                    call = self.ledger.reserve(self.run, model, usd)
                    break
                except OverBudget:
                    if not self._open:
                        raise
                    self._changed.wait()
            self._open += 1
            return call

    def close(self, call: int, usd: float | None) -> None:
        """End a call: it did cost so much; None keeps what it reserved."""
        try:
            if usd is not None:
                self.ledger.settle(call, usd)
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()


@contextmanager
def pay(purse: Purse | None, model: str, prompt: str, max_tokens: int, tries: int = 1) -> Iterator[Bill]:
    """Reserve the most that a call can cost, and settle what it did cost when the block ends.

    A call that never reached the server, or that it refused, costs nothing. One that broke off keeps its
    reservation. Without a purse nothing is counted.

    Args:
        purse: what pays.
        model: its name on the server.
        prompt: what the model reads; it has at most as many tokens as bytes.
        max_tokens: most tokens that the model writes.
        tries: how often the call may be sent; the server may count a try whose answer was lost.

    Raises:
        LabError: the price is not known, or the ledger cannot be used.
        OverBudget: the call could pass a ceiling; the block is not entered.
    """
    bill = Bill((len(prompt.encode("utf-8", "replace")) + _AROUND, max_tokens))
    if purse is None:
        yield bill
        return
    price = require_price(purse.settings, model, purse.base_url)
    call = purse.reserve(model, price.usd(*bill.most) * tries)
    try:
        yield bill
    except Exception as error:
        if _cost_nothing(error):
            bill.tokens = (0, 0)
        raise
    finally:
        purse.close(call, price.usd(*bill.tokens) if bill.tokens else None)


def _cost_nothing(error: Exception) -> bool:
    """Whether the server refused the call, or was never reached."""
    import openai

    unreached = type(error.__cause__).__name__ in ("ConnectError", "ConnectTimeout", "ProxyError")
    return isinstance(error, openai.APIStatusError) or unreached


def open_purse(settings: Settings, key: str, base_url: str, run: str = "") -> Purse | None:
    """What calls to a server with this key are paid from; None without a key, or where no budget is set.

    Args:
        settings: of the app; they hold the ceilings and the prices.
        key: the server's key; one without a key is not paid.
        base_url: the server's address.
        run: the run that the calls belong to; empty for the page's.

    Raises:
        LabError: the ledger cannot be used.
    """
    if not key or not settings.has_budget:
        return None
    return Purse(settings, base_url, Ledger(settings.data_dir, settings.budget, settings.run_budget), run)
