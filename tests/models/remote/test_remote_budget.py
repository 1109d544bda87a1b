import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tiltyard.models.remote.budget import Budget, budget_of
from tiltyard.models.remote.limits import Limits, Outcome


def work(member, count, *, threads=32, tokens=0, seconds=0.0):
    """Sends so many requests from so many threads. Returns when each was sent, and the most at once."""
    sent, most, running, lock = [], 0, 0, threading.Lock()

    def send(_):
        nonlocal most, running
        permit = member.acquire(tokens=tokens)
        with lock:
            running += 1
            most = max(most, running)
            sent.append(permit.sent_at)
        time.sleep(seconds)
        with lock:
            running -= 1
        permit.release(Outcome.ANSWERED)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(send, range(count)))
    return sorted(sent), most


def within(sent, seconds):
    return max(sum(start <= at < start + seconds for at in sent) for start in sent)


def test_concurrency_holds_under_32_threads():
    _, most = work(Budget().join(Limits(max_concurrency=5)), 100, seconds=0.002)
    assert most == 5


def test_requests_per_minute_hold_under_32_threads():
    sent, _ = work(Budget(minute=0.3).join(Limits(requests_per_minute=10)), 35)
    assert within(sent, 0.3) == 10
    assert sent[-1] - sent[0] >= 0.9


def test_tokens_per_minute_hold_under_32_threads():
    sent, _ = work(Budget(minute=0.3).join(Limits(tokens_per_minute=1000)), 12, tokens=250)
    assert within(sent, 0.3) == 4


def test_tokens_that_were_not_used_are_given_back():
    member = Budget().join(Limits(tokens_per_minute=1000))
    start = time.monotonic()
    for _ in range(10):
        member.acquire(tokens=900).release(Outcome.ANSWERED, tokens=10)
    assert time.monotonic() - start < 1


def test_all_members_share_one_budget_and_its_strictest_limits():
    budget = Budget(minute=0.3)
    members = [budget.join(Limits(requests_per_minute=limit)) for limit in (10, None, 40)]
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda member: work(member, 12, threads=8)[0], members))
    assert within(sorted(at for sent in runs for at in sent), 0.3) == 10


def test_a_member_that_is_gone_binds_nobody():
    budget = Budget()
    strict, free = budget.join(Limits(max_concurrency=1)), budget.join(Limits(max_concurrency=8))
    assert budget.width == 1
    strict.leave()
    assert budget.width == 8

    forgotten = budget.join(Limits(max_concurrency=2))
    assert budget.width == 2
    del forgotten
    gc.collect()
    assert budget.width == 8
    assert free.limits.max_concurrency == 8


def test_requests_go_in_the_order_in_which_they_were_made():
    budget = Budget()
    member = budget.join(Limits(max_concurrency=1))
    first, order, threads = member.acquire(), [], []

    def send(name, since):
        permit = member.acquire(since=since)
        order.append(name)
        permit.release(Outcome.ANSWERED)

    for name, since in (("a", None), ("b", None), ("c", None), ("older", 0.0)):
        threads.append(threading.Thread(target=send, args=(name, since)))
        threads[-1].start()
        while budget.waiting < len(threads):
            time.sleep(0.001)
    first.release(Outcome.ANSWERED)
    for thread in threads:
        thread.join()

    assert order == ["older", "a", "b", "c"]


def test_what_the_server_asks_of_one_request_all_of_them_do():
    member = Budget().join(Limits())
    permit = member.acquire()
    permit.release(Outcome.REFUSED, pause=0.3)
    sent, _ = work(member, 20)
    assert sent[0] - permit.sent_at >= 0.3


def test_waiting_costs_no_computing_time():
    member = Budget(minute=1.0).join(Limits(requests_per_minute=1))
    member.acquire().release(Outcome.ANSWERED)
    computed = time.process_time()
    sent, _ = work(member, 1, threads=1)
    assert time.process_time() - computed < 0.1
    assert len(sent) == 1


def test_refusals_narrow_the_endpoint_and_answers_widen_it():
    budget = Budget()
    member = budget.join(Limits(max_concurrency=8))
    permits = [member.acquire() for _ in range(8)]
    for permit in permits:
        permit.release(Outcome.REFUSED)
    assert budget.width == 4

    for _ in range(100):
        member.acquire().release(Outcome.ANSWERED)
    assert budget.width == 8


def test_an_endpoint_knows_for_how_long_it_has_only_failed():
    now = [100.0]
    budget = Budget(clock=lambda: now[0])
    member = budget.join(Limits())
    member.acquire().release(Outcome.FAILED)
    now[0] = 130.0
    member.acquire().release(Outcome.REFUSED)
    assert budget.failing_for() == 30.0
    member.acquire().release(Outcome.ANSWERED)
    assert budget.failing_for() == 0.0


def test_endpoints_have_a_budget_for_each_address_and_key():
    one = budget_of("http://a/v1", "key-one")
    assert budget_of("http://a/v1", "key-one") is one
    assert budget_of("http://a/v1", "key-two") is not one
    assert budget_of("http://b/v1", "key-one") is not one


@pytest.mark.parametrize("threads", [1, 32])
def test_nothing_is_lost_when_threads_come_and_go(threads):
    budget = Budget(minute=0.05)
    member = budget.join(Limits(max_concurrency=3, requests_per_minute=50, tokens_per_minute=5000))
    sent, most = work(member, 300, threads=threads, tokens=100, seconds=0.0005)
    assert len(sent) == 300
    assert most <= 3
    assert budget.running == 0
