import re
from collections.abc import Callable
from dataclasses import replace

from tiltyard.optimizers.playbook.operations import Add
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.reporting.analysis import analyse
from tiltyard.reporting.drawing import figures_of
from tiltyard.reporting.html.document import at_a_glance, document
from tiltyard.reporting.reading import Evidence
from tiltyard.tracking.reader import TrackedRun

Track = Callable[..., TrackedRun]
EvidenceOf = Callable[..., Evidence]
ATTACK = "<script>alert('é & \"')</script>"
SCORES = {str(n): float(n % 2) for n in range(10)}
ALL = dict.fromkeys(SCORES, 1.0)


def page(evidence: Evidence) -> str:
    analysis = analyse(evidence)
    return document(analysis, figures_of(analysis), command="tiltyard report")


def text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_one_run_is_a_report(track: Track, evidence_of: EvidenceOf) -> None:
    html = page(evidence_of(track(SCORES)))
    assert html.startswith("<!doctype html>")
    told = text(html)
    assert "There is nothing to compare: no arm other than the reference." in told
    assert "No example was answered better by one arm than by another." in told
    assert "None of these runs tracked a curve" in told


def test_it_holds_everything_and_fetches_nothing(track: Track, evidence_of: EvidenceOf) -> None:
    html = page(evidence_of(track(SCORES), track(ALL, mode="ace")))
    addresses = re.findall(r"""(?:src|href)="([^"]*)""", html)
    assert {address.partition(":")[0] for address in addresses if not address.startswith("#")} == {"data"}
    assert "default-src &#39;none&#39;; img-src data:" in html
    assert not re.search(r"@import|url\(", html)
    sections = re.findall(r'<section id="([a-z-]+)"', html)
    assert set(re.findall(r'href="#([a-z-]+)"', html)) <= set(sections)


def test_what_others_wrote_is_escaped(track: Track, evidence_of: EvidenceOf) -> None:
    values = {"pred": ATTACK, "question": ATTACK, "gold": ATTACK, "error": ATTACK}
    tags = {"tiltyard.command": ATTACK, "tiltyard.error": ATTACK}
    failed = replace(track(ALL, mode=ATTACK, tags=tags), status="FAILED", name=ATTACK)
    evidence = evidence_of(
        track(SCORES, model=ATTACK, tags=tags, **values),
        track(ALL, model=ATTACK, mode="ace", **values),
        failed=(failed,),
    )
    html = page(evidence)
    assert "<script>alert" not in html
    assert html.count("<script>") == 1
    assert html.count("&lt;script&gt;alert(&#39;é &amp; &#34;&#39;)&lt;/script&gt;") > 8


def test_what_is_missing_is_a_dash_and_no_zero(track: Track, evidence_of: EvidenceOf) -> None:
    html = page(evidence_of(track(SCORES, latency_ms=0.0, prompt_tokens=0, completion_tokens=0)))
    [row] = re.findall(r"<tbody>\s*<tr>(.*?)</tr>", html.split('id="leaderboard"')[1], re.S)[:1]
    cells = [text(cell) for cell in re.findall(r"<td.*?</td>", row, re.S)]
    headings = [
        text(h).strip()
        for h in re.findall(r"<th.*?</th>", html.split('id="leaderboard"')[1].split("</thead>")[0], re.S)
    ]
    found = dict(zip(headings, cells, strict=True))
    for name in ("mean latency", "p95 latency", "tokens", "cost", "compile tokens", "compile time", "memory"):
        assert found[name] == "–", name
    assert found["failed"] == "0"


def test_commands_and_configs_are_there(track: Track, evidence_of: EvidenceOf) -> None:
    html = page(evidence_of(track(SCORES, tags={"tiltyard.command": "tiltyard seed=7"}, seed=7)))
    assert "<code>tiltyard seed=7</code>" in html
    assert "<summary>config.yaml</summary><pre>seed: 7\n</pre>" in html


def test_failed_runs_are_told(track: Track, evidence_of: EvidenceOf) -> None:
    failed = replace(track(ALL, mode="ace", tags={"tiltyard.error": "no weights"}), status="FAILED")
    told = text(page(evidence_of(track(SCORES), failed=(failed,))))
    assert "1 run, and 1 that did not finish" in told
    assert "FAILED no weights" in told


def test_at_a_glance(track: Track, evidence_of: EvidenceOf) -> None:
    none = dict.fromkeys(SCORES, 0.0)
    evidence = evidence_of(
        track(none, context=""), track(ALL, mode="ace", context=""), track(none, mode="gepa", context="")
    )
    best, compared = at_a_glance(analyse(evidence))
    assert re.match(r"tatqa_tiny: the highest score of 3 arms is 1\.000 \[.*\] of lexical · ace$", best)
    assert compared == (
        "2 comparisons with optimizer=none: 1 better, 0 worse, 1 not told apart "
        "(p<0.05 after Holm's adjustment)"
    )


def test_equal_runs_give_equal_pages(track: Track, evidence_of: EvidenceOf) -> None:
    runs = [track(SCORES), track(ALL, mode="ace")]
    assert page(evidence_of(*runs)) == page(evidence_of(*runs))


def test_intervals_are_sorted_as_numbers(track: Track, evidence_of: EvidenceOf) -> None:
    html = page(evidence_of(track(SCORES, context=""), track(ALL, mode="ace", context="")))
    headings = re.findall(r'<th[^>]*data-number="(\w+)"[^>]*><button type="button">95% interval', html)
    assert headings == ["yes", "yes"]


def test_secrets_are_masked(track: Track, evidence_of: EvidenceOf) -> None:
    key = "sk-abcdefghijklmnop1234"
    run = track(SCORES, tags={"tiltyard.command": f"tiltyard model.key={key}"}, config=f"key: {key}\n")
    html = page(evidence_of(run))
    assert key not in html
    assert "model.key=***" in html


def test_arms_of_other_examples_are_told(track: Track, evidence_of: EvidenceOf) -> None:
    analysis = analyse(evidence_of(track(SCORES), track({"0": 1.0}, mode="ace")))
    assert any("different examples (1 to 10 each)" in remark for remark in analysis.remarks)


def test_the_growth_of_a_playbook_is_drawn_by_step(track: Track, evidence_of: EvidenceOf) -> None:
    playbook = Playbook()
    for step in (0, 2):
        playbook.apply(Add("general", f"Rule {step}."), step=step)
    metrics = {"optimizer.seconds": 2.0}
    files = {"playbook_history.jsonl": playbook.history.dumps()}
    drawn = {
        one.name: one
        for one in figures_of(analyse(evidence_of(track(SCORES, mode="ace", files=files, metrics=metrics))))
    }
    [line] = drawn["playbook_entries_by_step"].figure.axes[0].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([0, 1, 2, 3], [0.0, 1.0, 1.0, 2.0])


def test_a_damaged_history_is_told_and_left_out(track: Track, evidence_of: EvidenceOf) -> None:
    metrics = {"optimizer.seconds": 2.0}
    evidence = evidence_of(track(SCORES, files={"playbook_history.jsonl": "no event"}, metrics=metrics))
    [remark] = evidence.remarks
    assert "by step is left out" in remark
    assert list(evidence.growth.values()) == []
