"""Times lm-evaluation-harness in an environment of its own: reads jobs on stdin, answers on stdout, in JSON.

    $ python -m venv lm-eval
    $ lm-eval/bin/pip install lm_eval==0.4.13 torch==2.13.0 transformers==5.23.0 accelerate
    $ python benchmarks/inference.py --lm-eval-python lm-eval/bin/python

Started by inference.py. A job is a line ``{"batch_size": 16, "prompts": [["text", 32], …]}``; its answer is
``{"seconds": 9.1, "texts": [ … ]}``. Knows nothing of Tiltyard, which that environment does not have.
"""

import argparse
import json
import os
import sys
import time
from typing import Any


def main() -> None:
    """Load the model, then answer jobs until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print goes to stderr

    import torch
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(options.threads)
    model = HFLM(pretrained=options.model, device=options.device, dtype=options.dtype)
    for line in sys.stdin:
        print(json.dumps(answer(model, json.loads(line))), file=answers, flush=True)


def answer(model: Any, job: dict[str, Any]) -> dict[str, Any]:
    """How long the harness takes for the prompts, and what it writes."""
    from lm_eval.api.instance import Instance

    instances = [
        Instance(
            "generate_until", {}, (text, {"until": [], "max_gen_toks": limit, "do_sample": False}), number
        )
        for number, (text, limit) in enumerate(job["prompts"])
    ]
    model.batch_size_per_gpu = job["batch_size"]
    start = time.perf_counter()
    texts = model.generate_until(instances, disable_tqdm=True)
    return {"seconds": time.perf_counter() - start, "texts": texts}


if __name__ == "__main__":
    main()
