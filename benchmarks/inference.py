"""How fast local inference is, against other ways to run the same model on the same prompts in the same run.

    $ python benchmarks/inference.py --models ~/models --lm-eval-python lm-eval/bin/python
    $ python benchmarks/inference.py --only A --model 8m --repeat 1

A  prompts that share a long beginning, as a program's instructions and demonstrations make them
B  prompts of any length that share nothing
C  A's load through a DSPy program and Tiltyard's evaluation, against the engine driven directly
D  an evaluation on a model that is free, against dspy.Evaluate
E  an experiment repeated from the response cache

Systems take turns, each after a warm-up, and every round has new prompts, so that no cache helps from one to
the next. Slow systems get the first few of a round's prompts. Figures are medians over the rounds. The models
are random Llamas, see inference_models.py; how to make the environment of lm-evaluation-harness is told in
inference_lm_eval.py. Without it, its rows are left out.

C's prompts begin with about 540 common tokens, as A's do, but have 51 of their own where A's have 21. DSPy's
chat format writes behind each question how to answer: with the layout's end that is 46 tokens, even with
questions of 4 tokens and fields named by a letter. Both rows of C have this load, and tell its length.

Nothing was measured on a GPU: ``--device cuda`` is there, but untried. There is no row for vLLM.
"""

import argparse
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

from inference_benchmarks import AIMS, Benchmark
from inference_contest import Row, markdown
from inference_models import SIZES, build
from inference_systems import LmEval, Placement


def null_engine() -> Iterator[Row]:
    """D: the figures of evaluation_overhead.py, run as it stands."""
    script = Path(__file__).with_name("evaluation_overhead.py")
    finished = subprocess.run([sys.executable, str(script)], check=True, capture_output=True, text=True)
    ours, theirs, ratio = (line.split() for line in finished.stdout.splitlines()[1:])
    yield Row("D", "none", "Tiltyard's evaluate", f"{ours[2]} ms/example", "", "")
    yield Row("D", "none", "dspy.Evaluate", f"{theirs[1]} ms/example", ratio[1], AIMS["D", "", "dspy"])


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--only", default="A,B,C,D,E", type=lambda text: text.upper().split(","), help="such as A,C")
    add("--model", choices=sorted(SIZES), action="append", help="default: both; E runs on 135m alone")
    add(
        "--models", type=Path, default=Path("outputs/benchmark-models"), help="a folder; default: %(default)s"
    )
    add("--lm-eval-python", type=Path, help="the interpreter of an environment that has lm_eval")
    add("--repeat", type=int, default=3, help="rounds; default: %(default)s")
    add("--prompts", type=int, default=64, help="default: %(default)s")
    add("--sample", type=int, default=32, help="A's prompts for slow systems; one at a time gets half")
    add("--batch-sizes", type=lambda text: [int(size) for size in text.split(",")], default=[1, 4, 8, 16, 32])
    add("--generate-batch", action="store_true", help="measure transformers' continuous batching too")
    add("--threads", type=int, default=64, help="requests in flight; default: %(default)s")
    add("--cpu-threads", type=int, help="threads of one operation; default: torch's")
    add("--device", default="cpu", choices=["cpu", "cuda"])
    add("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    return parser.parse_args()


def rows_of(options: argparse.Namespace) -> Iterator[Row]:
    """Run what was asked for."""
    for size in options.model or ["8m", "135m"]:
        options.size = size
        folder = build(SIZES[size], options.models).resolve()
        placement = Placement(folder, options.device, options.dtype, options.cpu_threads)
        python = options.lm_eval_python if set(options.only) & {"A", "B"} else None
        with LmEval(python, placement) if python else nullcontext() as lm_eval:
            benchmark = Benchmark(options, placement, lm_eval)
            if "A" in options.only:
                yield from benchmark.shared()
            if "B" in options.only:
                yield from benchmark.different()
            if "C" in options.only:
                yield from benchmark.program()
            if "E" in options.only and size == "135m":
                yield from benchmark.cached()
    if "D" in options.only:
        yield from null_engine()


def main() -> None:
    """Run the benchmarks and print the table."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    logging.getLogger("dspy").setLevel(logging.ERROR)  # it warns of each answer that ends at its limit
    options = read_options()
    options.cpu_threads = options.cpu_threads or torch.get_num_threads()
    torch.set_num_threads(options.cpu_threads)
    device = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(
        f"{device}, {options.dtype}, {options.cpu_threads} CPU threads; torch {torch.__version__}, "
        f"transformers {version('transformers')}; {options.repeat} rounds",
        flush=True,
    )
    print(markdown(list(rows_of(options))))


if __name__ == "__main__":
    main()
