import dspy
import pytest

from tiltyard.errors import InputError
from tiltyard.models.engine import Completion, TextEngine, message_text
from tiltyard.optimizers.baseline import Unoptimized
from tiltyard.optimizers.compiling import compile_program
from tiltyard.optimizers.playbook.program import PlaybookProgram
from tiltyard.optimizers.report import OptimizationReport, Snapshot
from tiltyard.tasks.task import Score


class Arithmetic(TextEngine):
    """Knows sums of small numbers, and breaks the format when it is asked about anything else."""

    def generate(self, request):
        question = message_text(request.messages[-1]).splitlines()[1]
        if "+" not in question:
            return Completion("I do not know", 1, 1)
        total = sum(int(part) for part in question.split("+")) if "?" not in question else "wrong"
        return Completion(f"[[ ## answer ## ]]\n{total}\n\n[[ ## completed ## ]]", 1, 1)


def metric(example, prediction, trace=None, pred_name=None, pred_trace=None):
    return Score(float(example.answer == prediction.answer), "compare the sums")


def examples(*pairs):
    return [dspy.Example(question=q, answer=a).with_inputs("question") for q, a in pairs]


@pytest.fixture
def student():
    with dspy.context(lm=dspy.LM("local/arithmetic", engine=Arithmetic(), cache=False)):
        yield dspy.Predict("question -> answer")


def demos(program):
    return {(demo["question"], demo["answer"]): demo.get("augmented", False) for demo in program.demos}


def test_the_baseline_is_an_unchanged_copy(student):
    program = compile_program(Unoptimized(), student, train=[], validation=[]).program
    assert program is not student
    assert program.demos == []


def test_an_optimizer_without_examples_is_refused(student):
    with pytest.raises(InputError, match="train split is empty"):
        compile_program(dspy.LabeledFewShot(k=2), student, train=[], validation=[])


@pytest.mark.parametrize("threshold", [None, 1.0])
def test_wrong_demonstrations_stay_out(student, threshold):
    train = examples(("1+1", "2"), ("2+2?", "4"), ("3+3", "7"), ("4+4", "8"))
    optimizer = dspy.BootstrapFewShot(metric=metric, metric_threshold=threshold, max_labeled_demos=0)
    program = compile_program(optimizer, student, train=train, validation=[]).program
    assert demos(program) == {("1+1", "2"): True, ("4+4", "8"): True}


def test_examples_that_fail_do_not_end_the_compilation(student):
    train = examples(*[(f"why {n}", "because") for n in range(30)], ("1+1", "2"))
    optimizer = dspy.BootstrapFewShot(metric=metric, metric_threshold=1.0, max_labeled_demos=0)
    compiled = compile_program(optimizer, student, train=train, validation=[])
    assert demos(compiled.program) == {("1+1", "2"): True}


def test_failures_of_several_rounds_do_not_end_the_compilation(student):
    train = examples(*[(f"why {n}", "because") for n in range(5)], ("1+1", "2"))
    optimizer = dspy.BootstrapFewShot(metric=metric, metric_threshold=1.0, max_labeled_demos=0, max_rounds=4)
    compiled = compile_program(optimizer, student, train=train, validation=[])
    assert demos(compiled.program) == {("1+1", "2"): True}


def test_what_an_optimizer_prints_goes_to_the_log(student, capsys, caplog):
    caplog.set_level("INFO")
    optimizer = dspy.BootstrapFewShot(metric=metric, max_labeled_demos=0)
    compile_program(optimizer, student, train=examples(("1+1", "2")), validation=[])
    assert capsys.readouterr().out == ""
    assert "Bootstrapped 1 full traces" in caplog.text


class Recording(dspy.teleprompt.Teleprompter):
    def compile(self, student, *, trainset, valset=None):
        self.seen = (trainset, valset)
        return student


def test_an_optimizer_that_chooses_gets_the_validation_split(student):
    train, validation = examples(("1+1", "2")), examples(("2+2", "4"))
    optimizer = Recording()
    compile_program(optimizer, student, train=train, validation=validation)
    assert optimizer.seen == (train, validation)


def test_an_optimizer_gets_no_empty_validation_split(student):
    optimizer = Recording()
    compile_program(optimizer, student, train=examples(("1+1", "2")), validation=[])
    assert optimizer.seen[1] is None


def test_what_compiling_used_is_counted(student):
    optimizer = dspy.BootstrapFewShot(metric=metric, max_labeled_demos=0)
    compiled = compile_program(optimizer, student, train=examples(("1+1", "2"), ("2+2", "4")), validation=[])
    assert compiled.metrics() == {"tokens.compile.prompt": 2.0, "tokens.compile.completion": 2.0}
    unchanged = compile_program(Unoptimized(), student, train=[], validation=[])
    assert set(unchanged.metrics().values()) == {0.0}


def test_what_cannot_compile_is_refused(student):
    with pytest.raises(InputError, match="cannot compile"):
        compile_program(print, student, train=[], validation=[])


class Threaded(dspy.teleprompt.Teleprompter):
    """Asks in worker threads, as DSPy's own evaluation does."""

    def compile(self, student, *, trainset):
        dspy.Evaluate(devset=trainset, metric=metric, num_threads=4, display_progress=False)(student)
        return student


def test_what_worker_threads_use_is_counted_too(student):
    train = examples(*((f"{n}+{n}", str(2 * n)) for n in range(1, 9)))
    compiled = compile_program(Threaded(), student, train=train, validation=[])
    assert (compiled.prompt_tokens, compiled.completion_tokens) == (8, 8)
    assert compiled.report.candidates[0].score == 1.0


class Epochs(dspy.teleprompt.Teleprompter):
    """Has two epochs, and returns what it is told to."""

    def __init__(self, choose, named=None):
        self.choose, self.named = choose, named

    def compile(self, student, *, trainset):
        first, second = student.deepcopy(), student.deepcopy()
        first.demos, second.demos = trainset[:1], trainset
        self.report = OptimizationReport(
            snapshots=[Snapshot(1, first), Snapshot(2, second)], chosen_epoch=self.named
        )
        return self.choose(student, first, second)


def between(student, first, second):
    program = student.deepcopy()
    program.demos = second.demos[1:]
    return program


@pytest.mark.parametrize(
    ("choose", "named", "chosen", "others"),
    [
        (lambda student, first, second: first.deepcopy(), None, 1, [0, 2]),
        (lambda student, first, second: second, None, 2, [0, 1]),
        (lambda student, first, second: student.deepcopy(), None, 0, [1, 2]),
        (lambda student, first, second: PlaybookProgram(student), None, 0, [1, 2]),
        (between, None, 3, [0, 1, 2]),
        (between, 2, 2, [0, 1]),
    ],
)
def test_the_chosen_programs_epoch_is_known(choose, named, chosen, others, student):
    train = examples(("1+1", "2"), ("2+2", "4"))
    compiled = compile_program(Epochs(choose, named), student, train=train, validation=[])
    epoch, programs = compiled.epochs(student)
    assert (epoch, sorted(programs)) == (chosen, others)
    assert programs.get(0, student) is student


def test_an_optimizer_without_epochs_has_none(student):
    compiled = compile_program(dspy.LabeledFewShot(k=1), student, train=examples(("1+1", "2")), validation=[])
    assert compiled.epochs(student) == (0, {})
