import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import dspy
import pytest
from scripted_house import House, lm_of, rule, student, system_of

from tiltyard.errors import InputError
from tiltyard.models.caching import without_caches
from tiltyard.models.engine import Completion, message_text
from tiltyard.optimizers.cheatsheet.guard import Guard
from tiltyard.optimizers.cheatsheet.pool import Case, Pool, shown
from tiltyard.optimizers.cheatsheet.program import CheatsheetProgram
from tiltyard.optimizers.playbook.operations import Add
from tiltyard.optimizers.playbook.playbook import Playbook
from tiltyard.optimizers.playbook.program import PlaybookProgram


@pytest.fixture
def house():
    engine = House()
    with dspy.context(lm=lm_of(engine)):
        yield engine


def pool():
    return Pool(
        Case(str(number), f"question: Write the {kind} {number}.", str(number))
        for number, kind in enumerate(["sum", "weight", "date"])
    )


def test_the_sheet_stands_in_the_instructions_as_it_is(house):
    sheet = f"# Forms\n{rule('sum')}\n    - indented"
    program = CheatsheetProgram(student(), sheet)
    assert program(question="Write the sum 5.").answer == "USD 5"
    assert f"Cheatsheet:\n{sheet}".replace("\n", "\n" + " " * 8) in system_of(house.requests[0])
    assert "Cheatsheet" not in message_text(house.requests[0].messages[-1])
    assert "Cheatsheet" not in program.program.signature.instructions


def test_without_a_sheet_the_prompt_is_that_of_the_program(house):
    CheatsheetProgram(student())(question="Write the sum 5.")
    student()(question="Write the sum 5.")
    with_sheet, without = house.requests
    assert (with_sheet.system, with_sheet.messages) == (without.system, without.messages)


def test_the_adapter_in_force_does_the_work(house):
    class Loud(dspy.ChatAdapter):
        def format_task_description(self, signature):
            return super().format_task_description(signature).upper()

    house.answer = lambda request, fields: "[[ ## answer ## ]]\n" + system_of(request)[-21:]
    with dspy.context(adapter=Loud()):
        answer = CheatsheetProgram(student(), rule("sum"))(question="Write the sum 5.").answer
    assert answer == "WRITE A SUM AS: USD N"


@pytest.mark.parametrize("inside", [False, True])
def test_a_playbook_and_a_cheatsheet_are_both_shown(house, inside):
    playbook = Playbook()
    playbook.apply(Add("dates", "Write dates as the house does."), step=0)
    if inside:
        program = CheatsheetProgram(PlaybookProgram(student(), playbook), rule("sum"))
    else:
        program = PlaybookProgram(CheatsheetProgram(student(), rule("sum")), playbook)
    program(question="Write the sum 5.")
    assert "[k1] Write dates as the house does." in system_of(house.requests[0])
    assert rule("sum") in system_of(house.requests[0])


def test_every_call_of_a_program_sees_the_sheet(house):
    class Twice(dspy.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = student(), student()

        def forward(self, question):
            self.first(question=question)
            return self.second(question=question)

    CheatsheetProgram(Twice(), rule("sum"))(question="Write the sum 5.")
    assert all("Cheatsheet:" in system_of(request) for request in house.requests)
    assert len(house.requests) == 2


def test_threads_share_a_program_and_show_their_own_sheets(house):
    inner = student()
    together = threading.Barrier(4, timeout=10)

    class Meeting(dspy.Module):
        def forward(self, **inputs):
            together.wait()
            return inner(**inputs)

    meeting = Meeting()

    def answer(kind):
        return CheatsheetProgram(meeting, rule(kind))(question=f"Write the {kind} 5.").answer

    with ThreadPoolExecutor(4) as threads:
        kinds = ["sum", "weight", "date", "share"]
        futures = [threads.submit(copy_context().run, answer, kind) for kind in kinds]
    assert [future.result() for future in futures] == ["USD 5", "5 kg", "5.11.", "5 %"]


def test_asynchronous_calls_see_the_sheet(house):
    fixed = CheatsheetProgram(student(), rule("sum"))
    written = CheatsheetProgram(student(), pool=pool(), retrieved=1)
    assert asyncio.run(fixed.acall(question="Write the sum 5.")).answer == "USD 5"
    assert asyncio.run(written.acall(question="Write the date 5.")).answer == "5.11."


@pytest.mark.parametrize("retrieval", [False, True])
def test_the_state_carries_the_sheet_and_the_pool(house, tmp_path, retrieval):
    inner = student()
    inner.demos = [dspy.Example(question="Write the sum 1.", answer="USD 1")]
    inner._compiled = True  # as a program that an optimizer returned
    program = CheatsheetProgram(
        inner, rule("sum"), pool() if retrieval else None, retrieved=2, guard=Guard(budget_tokens=99)
    )
    program.save(tmp_path / "program.json")

    loaded = CheatsheetProgram(student())
    loaded.load(tmp_path / "program.json")
    assert loaded.dump_state() == program.dump_state()
    assert loaded.sheet == rule("sum")
    assert len(loaded.program.demos) == 1
    question = {"question": "Write the weight 5."}
    assert loaded(**question).answer == program(**question).answer == ("5 kg" if retrieval else "5")


def test_a_state_without_a_cheatsheet_is_refused():
    program = CheatsheetProgram(student(), rule("sum"))
    state = program.dump_state()
    with pytest.raises(InputError, match="cannot be read"):
        program.load_state({**state, "cheatsheet": {"sheet": None, "retrieval": None}})
    with pytest.raises(KeyError):
        program.load_state({name: value for name, value in state.items() if name != "cheatsheet"})
    assert program.sheet == rule("sum")


def test_a_copy_is_independent(house):
    program = CheatsheetProgram(student(), pool=pool(), retrieved=1)
    program(question="Write the date 5.")
    copy = program.deepcopy()
    assert copy.dump_state() == program.dump_state()
    copy.notes.pool.add(Case("3", "question: Write the share 3.", "3"))
    assert len(program.pool) == 3


def test_a_sheet_is_written_for_each_question_from_the_most_similar_tasks(house):
    program = CheatsheetProgram(student(), rule("share"), pool(), retrieved=1)
    assert program(question="Write the date 5.").answer == "5.11."
    assert program.sheet_for({"question": "Write the date 5."}) == f"{rule('share')}\n{rule('date')}"
    assert program.sheet == rule("share")
    asked = message_text(house.curating[0].messages[-1])
    assert "the date 2." in asked
    assert "the sum 0." not in asked


def test_the_curator_sees_the_most_similar_task_last():
    cases = pool().nearest("question: Write the weight 7.", 3)
    assert cases[0].key == "1"
    assert shown(cases).endswith(str(cases[0]))


def test_a_question_has_its_sheet_written_once(house):
    program = CheatsheetProgram(student(), pool=pool())
    for _ in range(3):
        program(question="Write the date 5.")
    assert (len(house.curating), len(house.answering)) == (1, 3)
    program(question="Write the date 6.")
    assert len(house.curating) == 2


def test_copies_of_a_model_share_sheets_and_other_models_do_not(house):
    program = CheatsheetProgram(student(), pool=pool())
    other = House()
    for lm in (dspy.settings.lm.copy(), lm_of(other), lm_of(other), lm_of(other, "another")):
        with dspy.context(lm=lm):
            program(question="Write the date 5.")
    assert (len(house.curating), len(other.curating)) == (1, 2)
    with dspy.context(lm=dspy.settings.lm.copy(temperature=0.7)):
        program(question="Write the date 5.")
    assert len(house.curating) == 2


def test_sheets_are_not_kept_where_caches_are_off(house):
    program = CheatsheetProgram(student(), pool=pool())
    with without_caches():
        for _ in range(2):
            program(question="Write the date 5.")
    assert len(house.curating) == 2


def test_another_model_may_write_the_sheets(house):
    writer = House()
    program = CheatsheetProgram(student(), pool=pool(), curator=lm_of(writer))
    assert program(question="Write the date 5.").answer == "5.11."
    assert (len(house.curating), len(writer.curating)) == (0, 1)


def test_a_broken_or_refused_sheet_leaves_the_programs_own(house):
    own = "\n".join(map(rule, ["sum", "weight", "date"]))
    program = CheatsheetProgram(student(), own, pool(), guard=Guard(guarded_from=0))
    house.curate = lambda request, fields: "[[ ## cheatsheet ## ]]\n- all is well"
    assert program(question="Write the date 5.").answer == "5.11."
    house.curate = lambda request, fields: "I do not know."
    assert program(question="Write the date 6.").answer == "6.11."
    assert len(house.curating) == 3  # the broken one was asked for again


def test_what_the_curator_takes_is_in_the_history_of_whoever_watches(house):
    class Watched(dspy.Module):
        def __init__(self, program):
            super().__init__()
            self.program = program

        def forward(self, **inputs):
            return self.program(**inputs)

    watched = Watched(CheatsheetProgram(student(), pool=pool()))
    watched(question="Write the date 5.")
    assert len(watched.history) == 2


def test_a_pool_replaces_the_case_of_a_key():
    cases = pool()
    cases.add(Case("1", "question: Write the share 9.", "9", "Wrong."))
    assert len(cases) == 3
    assert [case.answer for case in cases.nearest("question: Write the share 9.", 1)] == ["9"]
    assert "1" not in [case.key for case in cases.nearest("question: Write the share 9.", 3, without="1")]
    assert str(cases.cases[1]).endswith("answer: 9\nfeedback: Wrong.")


def test_an_empty_pool_is_not_asked(house):
    program = CheatsheetProgram(student(), rule("sum"), Pool())
    assert program(question="Write the sum 5.").answer == "USD 5"
    assert not house.curating


def test_a_cut_off_reply_loses_its_last_line(house):
    house.generate = lambda request: Completion("[[ ## cheatsheet ## ]]\n- one\n- tw", 1, 1, "length")
    assert CheatsheetProgram(student(), pool=pool()).sheet_for({"question": "x"}) == "- one"
