import copy
import json
import socket
import threading
import time
from inspect import signature
from pathlib import Path

import dspy
import pytest
from fault_server import completion
from hypothesis import given
from hypothesis import strategies as st

from tiltyard.config import check, fingerprint, instantiate, resolve
from tiltyard.errors import InputError
from tiltyard.models.engine import max_concurrency, model_id, provenance
from tiltyard.models.remote import RemoteEngine, remote_model
from tiltyard.models.remote.addresses import api_root, host_of
from tiltyard.models.remote.budget import budget_of
from tiltyard.models.remote.keys import secret


def sent(fake):
    return [body for _, _, body in fake.requests]


def unused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


# --- addresses ---


@pytest.mark.parametrize(
    ("given_address", "root"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        (" http://localhost:8000/v1/ ", "http://localhost:8000/v1"),
        ("https://api.groq.com/openai/v1/", "https://api.groq.com/openai/v1"),
        ("http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1"),
        ("http://Big-Host:1234/deployments/a", "http://big-host:1234/deployments/a"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_an_address_has_one_form(given_address, root):
    assert api_root(given_address) == root
    assert api_root(root) == root


@pytest.mark.parametrize(
    "wrong",
    [
        "localhost:8000",
        "ftp://host/v1",
        "http://",
        "http://host:port/v1",
        "http://[::1/v1",
        "",
        "http://h/v1?a=b",
    ],
)
def test_what_is_no_address_is_one_line(wrong):
    with pytest.raises(InputError, match=r"model\.api_base") as caught:
        api_root(wrong)
    assert "\n" not in str(caught.value)


def test_credentials_in_an_address_are_refused_and_not_repeated():
    with pytest.raises(InputError, match="holds credentials") as caught:
        api_root("https://me:hunter2@host/v1")
    assert "hunter2" not in str(caught.value)


@given(st.text())
def test_every_text_is_an_address_or_wrong_input(text):
    try:
        root = api_root(text)
    except InputError:
        return
    assert host_of(root)
    assert api_root(root) == root


# --- keys ---


def test_a_missing_key_names_its_variable_and_where_to_put_it():
    with pytest.raises(InputError, match="GROQ_API_KEY is not set") as caught:
        remote_model(
            provider="groq", id="x", api_base="https://api.groq.com/openai/v1", api_key_env="GROQ_API_KEY"
        )
    assert ".env" in caught.value.remedy
    assert caught.value.exit_code == 2


def test_a_key_comes_from_the_environment_before_the_file(monkeypatch):
    Path(".env").write_text("GROQ_API_KEY='from-the-file'\nOTHER_KEY=${HOME}x\n")
    assert secret("GROQ_API_KEY", "o") == "from-the-file"
    assert secret("OTHER_KEY", "o") == "${HOME}x"
    monkeypatch.setenv("GROQ_API_KEY", "from-the-environment")
    assert secret("GROQ_API_KEY", "o") == "from-the-environment"


def test_a_key_from_the_file_is_masked_like_one_from_the_environment():
    from tiltyard.redaction import redact

    Path(".env").write_text("GROQ_API_KEY=looks-like-nothing\n")
    secret("GROQ_API_KEY", "o")
    assert redact("the key looks-like-nothing was refused") == "the key *** was refused"


@pytest.mark.parametrize("value", ["schlüssel", "two\nlines"])
def test_a_key_that_no_header_can_carry_is_wrong_input(value, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", value)
    with pytest.raises(InputError, match="GROQ_API_KEY") as caught:
        secret("GROQ_API_KEY", "o")
    assert value not in str(caught.value)


@pytest.mark.parametrize("headers_env", [("X-Key",), ("X Key:A_KEY",), (":A_KEY",)])
def test_headers_that_cannot_be_sent_are_wrong_input(headers_env):
    with pytest.raises(InputError, match=r"model\.headers"):
        remote_model(provider="vllm", id="x", api_base="http://h", headers_env=headers_env)


# --- the check before a run ---


@pytest.mark.parametrize("name", ["vllm", "ollama", "openai_compatible"])
def test_a_server_that_is_not_there_is_one_line(name, composed):
    cfg = resolve(composed(f"model={name}", f"model.api_base=http://127.0.0.1:{unused_port()}", "model.id=x"))
    with pytest.raises(InputError, match=r"no server answers at http://127.0.0.1:\d+/v1") as caught:
        instantiate(cfg.model)
    assert "docs/remote-models.md" in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_a_model_that_the_server_lacks_is_wrong_input_that_lists_what_it_has(remote):
    with pytest.raises(InputError, match="has no model 'tiny-2'; it has tiny, other/model"):
        remote(id="tiny-2")


def test_the_check_can_be_left_out(remote, fake):
    remote(id="unlisted", check=False)
    assert fake.gets == []


@pytest.mark.parametrize(
    "models",
    [
        (404, {"error": "no such path"}),
        (501, b"<html>"),
        (200, b"<html>"),
        (200, {"data": []}),
        (403, {}),
        (500, {}),
    ],
)
def test_a_server_that_lists_no_models_is_left_to_the_run(models, remote, fake):
    fake.models = models
    assert "42" in remote(id="unlisted")("hello")[0]


def test_a_server_that_wants_a_key_says_so_before_the_run(remote, fake, monkeypatch):
    fake.models = (401, {"error": {"message": "no"}})
    with pytest.raises(InputError, match="asks for a key"):
        remote()
    monkeypatch.setenv("SOME_KEY", "wrong-key-value")
    with pytest.raises(InputError, match="refuses the key in SOME_KEY"):
        remote(api_key_env="SOME_KEY")


def test_a_proxy_is_not_asked_for_this_machine_and_a_wrong_one_is_wrong_input(remote, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    assert "42" in remote()("hello")[0]
    with pytest.raises(InputError, match="proxy"):
        remote(api_base="http://some-host:8000")


def test_ollama_needs_no_tag_for_the_latest(remote, fake):
    fake.models = (200, {"data": [{"id": "llama3.2:latest"}]})
    remote(provider="ollama", id="llama3.2")


# --- what is asked ---


def test_a_request_says_what_the_option_says(remote, fake):
    lm = remote(temperature=0.7, top_p=0.9, max_tokens=33, seed=5, extra_body={"top_k": 3})
    lm("hello")
    [body] = sent(fake)
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    asked = {key: body[key] for key in ("model", "temperature", "top_p", "max_tokens", "seed", "top_k")}
    assert asked == {
        "model": "tiny", "temperature": 0.7, "top_p": 0.9, "max_tokens": 33, "seed": 5, "top_k": 3,
    }  # fmt: skip


def test_what_is_null_is_left_to_the_server(remote, fake):
    remote(temperature=None, max_tokens=None, seed=None)("hello")
    assert set(sent(fake)[0]) == {"model", "messages"}


def test_openai_gets_its_own_spelling(remote, fake):
    remote(provider="openai")("hello")
    assert "max_completion_tokens" in sent(fake)[0]


@pytest.mark.parametrize("field", ["seed", "temperature", "messages", "api_key"])
def test_fields_with_an_option_of_their_own_are_refused(field, remote):
    with pytest.raises(InputError, match=f"model.extra_body.{field}"):
        remote(extra_body={field: 1})


def test_a_reasoning_model_says_what_it_needs(remote, fake):
    fake.models = (200, {"data": [{"id": "gpt-5"}]})
    with pytest.raises(InputError, match="gpt-5 is a reasoning model"):
        remote(provider="openai", id="gpt-5", temperature=0.7)
    remote(provider="openai", id="gpt-5", temperature=None, max_tokens=None)


def test_a_greedy_request_has_the_seed_each_time(remote, fake):
    lm = remote(seed=7)
    lm("hello")
    lm("hello")
    assert [body["seed"] for body in sent(fake)] == [7, 7]


def test_a_repeated_sampled_request_has_other_seeds_and_a_new_run_the_same(remote, fake):
    for _ in range(2):
        lm = remote(seed=7, temperature=1.0)
        for prompt in ("a", "a", "b", "a"):
            lm(prompt)
    seeds = [body["seed"] for body in sent(fake)]
    assert seeds[:4] == seeds[4:]
    assert seeds[0] == seeds[2] == 7
    assert len({seeds[0], seeds[1], seeds[3]}) == 3
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_settled_request_stays_as_it_is(remote):
    from dspy.lm15 import Config, Message, Request

    engine = remote(seed=7, temperature=1.0, extra_body={"top_k": 3}).engine
    request = Request(model="m", messages=(Message.user("a"),), config=Config(temperature=1.0))
    settled = engine.settle(request)
    assert settled.config.seed == 7
    assert engine.settle(settled) == settled


def test_a_schema_is_sent_where_the_server_keeps_to_it(remote, fake):
    fake.answer = completion('{"answer": "42"}')
    for provider, sent_as in (("vllm", "json_schema"), ("openai_compatible", None)):
        with dspy.context(lm=remote(provider=provider), adapter=dspy.JSONAdapter()):
            assert dspy.Predict("question -> answer")(question="x").answer == "42"
        assert (sent(fake)[-1].get("response_format") or {}).get("type") == sent_as


# --- what a run sees of it ---


def test_the_name_and_the_address_are_the_runs(remote, fake):
    lm = remote(max_concurrency=3)
    assert model_id(lm) == "openai_compatible/tiny"
    assert provenance(lm) == {"endpoint": fake.url}
    assert max_concurrency(lm) == 3


NOW = 1763650000


@pytest.mark.parametrize(
    ("provider", "entry", "said"),
    [
        ("vllm", {"root": "org/a", "parent": None, "created": NOW, "max_model_len": 8}, {"root": "org/a"}),
        ("vllm", {"root": "/adapters/b", "parent": "org/a"}, {"root": "/adapters/b", "parent": "org/a"}),
        ("ollama", {"created": NOW, "owned_by": "library"}, {"created": str(NOW)}),
        (
            "openai_compatible",
            {"created": NOW, "meta": {"n_params": 494, "size": 397, "n_ctx": 4096}},
            {"n_params": "494", "size": "397"},
        ),
        ("openai_compatible", {"created": NOW, "digest": "sha256:ab"}, {"digest": "sha256:ab"}),
        ("openai_compatible", {"root": ["?"], "meta": 3, "digest": ""}, {}),
    ],
)
def test_what_a_server_says_of_the_weights_is_the_runs(provider, entry, said, remote, fake):
    fake.models = (200, {"data": [{"id": "other"}, {"id": "tiny", "object": "model", **entry}]})
    expected = {"endpoint": fake.url, **{f"served_{name}": value for name, value in said.items()}}
    assert provenance(remote(provider=provider)) == expected
    assert provenance(remote(provider=provider, check=False)) == {"endpoint": fake.url}


def test_other_weights_behind_a_name_are_asked_again(remote, fake, tmp_path):
    """The same config, so the same identity; the server was restarted with another checkpoint."""
    from contextlib import closing

    from tiltyard.models.cached_engine import cached_lm
    from tiltyard.models.response_cache import ResponseCache

    with closing(ResponseCache(tmp_path / "cache", 10)) as cache:
        for created, (root, asked) in enumerate([("org/a", 1), ("org/a", 1), ("org/b", 2), ("org/a", 2)]):
            fake.models = (200, {"data": [{"id": "tiny", "root": root, "created": created}]})
            cached_lm(remote(provider="vllm"), cache, "the same")("hello")
            assert len(fake.requests) == asked


# --- closing ---


def test_a_closed_engine_binds_nobody_and_has_no_connection(remote, fake):
    strict, free = remote(max_concurrency=1), remote(max_concurrency=8)
    budget = budget_of(fake.url, None)
    strict("hello")
    assert budget.width == 1
    strict.engine.close()
    strict.engine.close()
    assert budget.width == 8
    assert strict.engine._client._wire.transport.pool_stats()["idle"] == 0
    assert "42" in free("hello")[0]


def test_a_closed_engine_that_is_asked_joins_again(remote, fake):
    lm = remote(max_concurrency=1)
    lm("hello")
    lm.engine.close()
    assert budget_of(fake.url, None).width == float("inf")
    fake.delay = 0.02
    threads = [threading.Thread(target=lm, args=(f"hello {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fake.requests) == 9
    assert fake.most_running == 1
    assert budget_of(fake.url, None).width == 1


def test_a_request_is_not_tried_again_once_its_engine_is_closed(remote, fake):
    lm = remote(retries=None, retry_seconds=60.0)
    fake.share, fake.among = 1.0, ["500"]
    raised = []

    def ask():
        try:
            lm("hello")
        except Exception as error:
            raised.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    while not fake.requests:
        time.sleep(0.01)
    lm.engine.close()
    asking.join(10)
    assert not asking.is_alive()
    assert "the engine was closed" in raised[0]


def test_copies_share_the_engine(remote):
    lm = remote()
    assert copy.deepcopy(lm).engine is lm.engine
    assert lm.copy().engine is lm.engine


def test_it_can_be_awaited_and_streamed(remote):
    import asyncio

    lm = remote()
    assert "42" in asyncio.run(lm.acall("hello"))[0]
    program = dspy.streamify(dspy.Predict("question -> answer"))

    async def last():
        with dspy.context(lm=lm):
            return [chunk async for chunk in program(question="x")][-1]

    assert asyncio.run(last()).answer == "42"


def test_a_saved_program_brings_its_model_back_without_the_key(remote, fake, monkeypatch, tmp_path):
    monkeypatch.setenv("SOME_KEY", "a-key-of-some-kind")
    program = dspy.Predict("question -> answer")
    program.lm = remote(api_key_env="SOME_KEY", requests_per_minute=100)
    program.save(tmp_path / "program.json")
    assert "a-key-of-some-kind" not in (tmp_path / "program.json").read_text()

    loaded = dspy.Predict("question -> answer")
    loaded.load(tmp_path / "program.json", allow_unsafe_lm_state=True)
    assert isinstance(loaded.lm.engine, RemoteEngine)
    assert loaded(question="x").answer == "42"
    assert fake.requests[-1][1]["Authorization"] == "Bearer a-key-of-some-kind"
    loaded.lm.engine.close()


def test_two_models_of_one_endpoint_share_its_budget(remote, fake):
    fake.delay = 0.02
    models = [remote(max_concurrency=limit, id=name) for limit, name in ((3, "tiny"), (8, "other/model"))]
    threads = [threading.Thread(target=models[number % 2], args=("hello",)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fake.requests) == 32
    assert fake.most_running == 3


# --- what it costs ---


def cost_of(lm, fake):
    lm("hello")
    return lm.history[-1]["response"].provider_data["tiltyard"].get("cost_usd")


def test_a_known_price_is_reported(remote, fake, monkeypatch):
    from dspy.clients.model_metadata import model_info

    from tiltyard.models.remote import server

    model = "openai/gpt-oss-20b"
    monkeypatch.setattr(server, "_PRICED", {host_of(fake.url): "groq"})
    fake.models = (404, {})
    fake.answer = completion(model=model)
    fake.answer["usage"] = {"prompt_tokens": 1_000_000, "completion_tokens": 1000}
    price = model_info("groq", model)
    listed = 1_000_000 * price["input_cost_per_token"] + 1000 * price["output_cost_per_token"]
    assert cost_of(remote(provider="groq", id=model), fake) == pytest.approx(listed)
    assert cost_of(remote(provider="groq", id=model, priced=False), fake) is None

    fake.answer["model"] = "a-model-of-nobody"
    assert cost_of(remote(provider="groq", id="a-model-of-nobody"), fake) is None
    fake.answer.pop("usage")
    assert cost_of(remote(provider="groq", id=model), fake) is None


def test_a_price_is_known_only_of_the_providers_own_address(remote, fake):
    fake.models = (404, {})
    fake.answer = completion(model="gpt-4o-mini")
    for provider in ("openai", "groq", "vllm", "ollama"):
        assert cost_of(remote(provider=provider, id="gpt-4o-mini"), fake) is None


# --- options ---


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.requests_per_minute=0"], "model.requests_per_minute=0"),
        (["model.timeout=0"], "model.timeout=0"),
        (["model.provider=azure"], "model.provider"),
        (["+model.headers.Authorization=abc"], "secret"),
        (["+model.headers.X-Note=sk-abcdefghijklmnop1234"], "secret"),
    ],
)
def test_wrong_options_are_one_line(overrides, words, composed):
    with pytest.raises(InputError, match=words):
        check(composed("model=vllm", *overrides))


def test_options_of_the_command_line_arrive(composed, fake, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "a-key-of-some-kind")
    cfg = composed(
        "model=openai_compatible", "model.id=tiny", f"model.api_base={fake.url}",
        "model.headers_env=[X-Api-Key:SOME_KEY]", "+model.headers.X-Title=t", "+model.extra_body.top_k=4",
    )  # fmt: skip
    lm = instantiate(resolve(cfg).model)
    lm("hello")
    _, headers, body = fake.requests[0]
    assert (headers["X-Api-Key"], headers["X-Title"], body["top_k"]) == ("a-key-of-some-kind", "t", 4)
    assert json.dumps(lm.engine.dump_state())
    lm.engine.close()


def test_how_patiently_a_server_is_asked_makes_no_other_run(composed):
    def of(*overrides):
        return fingerprint(resolve(composed("model=vllm", *overrides)))

    patient = ("model.timeout=5", "model.retries=0", "model.max_concurrency=3", "model.check=false")
    assert of(*patient) == of()
    for other in ("model.api_base=http://other:8000", "model.temperature=1", "model.id=x", "model.seed=3"):
        assert of(other) != of()


def test_the_docs_name_every_option():
    page = (Path(__file__).parents[3] / "docs/remote-models.md").read_text(encoding="utf-8")
    assert [name for name in signature(remote_model).parameters if f"`{name}`" not in page] == ["provider"]
