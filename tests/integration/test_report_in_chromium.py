"""The HTML report in a real browser: it opens from disk, fetches nothing, sorts and filters."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tiltyard.evaluation.rows import Row, write_rows
from tiltyard.reporting.analysis import analyse
from tiltyard.reporting.reading import read
from tiltyard.reporting.report_files import write_report
from tiltyard.reporting.selection import Selected
from tiltyard.tracking.reader import TrackedRun

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

ATTACK = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"

AS_3_AND_4 = """
import fcntl, os, sys
reads, writes = (fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3])
os.dup2(reads, 3)
os.dup2(writes, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Starts a program with two ends of pipes as its file descriptors 3 and 4, where Chromium looks for them."""


class Browser:
    """Chromium, spoken to over a pipe in its DevTools protocol."""

    def __init__(self, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        flags = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", f"--user-data-dir={profile}", "--remote-debugging-pipe"),
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-c", AS_3_AND_4, str(to_browser), str(from_browser), str(CHROMIUM), *flags],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._last = 0
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    _session: str | None = None

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert time.monotonic() < deadline
            received = os.read(self._read, 1 << 20)
            assert received, "the browser ended"
            self._buffer += received
        message, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(message))

    def open(self, page: Path) -> None:
        self.call("Page.navigate", url=page.as_uri())
        while self("document.readyState") != "complete":
            time.sleep(0.05)

    def __call__(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                text=text if kind == "keyDown" else "",
                windowsVirtualKeyCode={"Enter": 13, "Tab": 9}.get(key, 0),
            )

    def complaints(self) -> list[Any]:
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event["params"] for event in self.events if event.get("method") in kinds]

    def fetched(self) -> list[str]:
        sent = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def close(self) -> None:
        os.close(self._write)  # the end of its pipe ends the browser
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three arms on two tasks; one model answers with an attack."""
    folder = tmp_path_factory.mktemp("a report")
    runs = [
        tracked(folder, task, mode, scores)
        for task in ("iot_tiny", "tatqa_tiny")
        for mode, scores in {"baseline": [0, 0, 1], "ace": [1, 1, 1], "bootstrap": [0, 1, 1]}.items()
    ]
    evidence = read(Selected(runs, []), source="a <b>test</b>")
    write_report(analyse(evidence), folder, command="tiltyard report")
    return folder / "report.html"


def tracked(folder: Path, task: str, mode: str, scores: list[int]) -> TrackedRun:
    """A run whose artifacts lie on this disk."""
    artifacts = folder / f"{task}-{mode}"
    texts = ("lexical", task, "d", mode)
    write_rows(
        artifacts / "predictions.csv",
        [
            Row(
                *texts,
                str(n),
                "gold",
                ATTACK,
                12.0,
                "q?",
                "",
                score,
                score,
                "test",
                0,
                "stop",
                "",
                0.0,
                0,
                9,
                1,
                0,
            )
            for n, score in enumerate(scores)
        ],
    )
    (artifacts / "config.yaml").write_text(f"seed: 0  # {ATTACK}\n", encoding="utf-8")
    tags = {
        f"tiltyard.{name}": value
        for name, value in zip(("task", "model", "mode"), (task, "lexical", mode), strict=True)
    }
    start = datetime(2026, 11, 20, tzinfo=UTC)
    return TrackedRun(
        *(artifacts.name, artifacts.name, "FINISHED", start, start, tags | {"tiltyard.command": ATTACK}),
        params={"seed": "0"},
        metrics={},
        _connection=None,  # type: ignore[arg-type]
        _artifacts=artifacts.as_uri(),
    )


def column(browser: Browser, place: int) -> list[str]:
    """What the visible rows of the leaderboard say in a column."""
    return list(
        browser(
            "[...document.querySelectorAll('#leaderboard tbody tr')].filter(row => row.checkVisibility())"
            f".map(row => row.cells[{place}].firstChild.textContent.trim())"
        )
    )


def headings(browser: Browser) -> Mapping[str, int]:
    told = browser("[...document.querySelectorAll('#leaderboard th')].map(one => one.textContent.trim())")
    return {name: place for place, name in enumerate(told)}


def test_it_opens_from_disk_and_fetches_nothing(browser: Browser, page: Path) -> None:
    browser.events.clear()
    browser.open(page)
    assert browser("document.title").startswith("Tiltyard report")
    assert browser("[...document.images].every(one => one.complete && one.naturalWidth > 100)")
    assert browser("document.images.length") >= 4
    assert browser.complaints() == []
    assert {address.partition(":")[0] for address in browser.fetched()} <= {"file", "data"}
    assert [address for address in browser.fetched() if address.startswith("file")] == [page.as_uri()]


def test_what_a_model_says_is_text(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser("document.title") == "Tiltyard report: a <b>test</b>"
    assert browser("document.body.textContent").count(ATTACK) >= 1
    assert browser("document.querySelectorAll('.example img, .example script').length") == 0


def test_a_click_sorts_and_another_one_turns_it(browser: Browser, page: Path) -> None:
    browser.open(page)
    place = headings(browser)["score"]
    before = column(browser, place)
    click = f"document.querySelectorAll('#leaderboard th button')[{place}].click()"
    browser(click)
    ascending = column(browser, place)
    browser(click)
    descending = column(browser, place)
    assert ascending == sorted(before) != before
    assert descending == sorted(before, reverse=True)
    sort = f"document.querySelectorAll('#leaderboard th')[{place}].getAttribute('aria-sort')"
    assert browser(sort) == "descending"


def test_what_is_missing_stands_last_both_ways(browser: Browser, page: Path) -> None:
    browser.open(page)
    place = next(at for name, at in headings(browser).items() if name.startswith("against"))
    click = f"document.querySelectorAll('#leaderboard th button')[{place}].click()"
    for _ in range(2):
        browser(click)
        assert column(browser, place)[-2:] == ["reference", "reference"]
        assert "reference" not in column(browser, place)[:-2]


def test_words_and_choices_filter(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert len(column(browser, 0)) == 6
    browser("""{ const box = document.querySelector('#leaderboard [data-filter]'); box.value = 'IOT ace';
        box.dispatchEvent(new Event('input', {bubbles: true})); }""")
    assert (column(browser, 0), column(browser, 2)) == (["iot_tiny"], ["ace"])
    assert browser("document.querySelector('#leaderboard output').textContent") == "1 of 6 rows"
    browser("""{ const box = document.querySelector('#leaderboard [data-filter]'); box.value = '';
        box.dispatchEvent(new Event('input', {bubbles: true}));
        const choice = document.querySelectorAll('#leaderboard [data-choice]')[1]; choice.value = 'baseline';
        choice.dispatchEvent(new Event('change', {bubbles: true})); }""")
    assert column(browser, 2) == ["baseline", "baseline"]


def test_the_keyboard_sorts_and_filters(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser("document.querySelector('#leaderboard [data-filter]').focus()")
    for letter in "bootstrap":
        browser.press(letter, text=letter)
    assert column(browser, 2) == ["bootstrap", "bootstrap"]
    for _ in range(8):  # past the choices and the table's own stop, to the first heading
        browser.press("Tab")
        if browser("document.activeElement.matches('#leaderboard th button')"):
            break
    browser.press("Enter", text="\r")
    assert browser("document.querySelector('#leaderboard th').getAttribute('aria-sort')") == "ascending"
