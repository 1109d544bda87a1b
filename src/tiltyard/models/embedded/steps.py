"""Makes the steps of a training: the model, its loss, its optimizer and the average of its weights.

>>> trainee = Trainee(settings, tokenizer, "cpu")
>>> trainee.step(batch, 0)
tensor([6.9312, 6.9406])
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltyard.models.embedded.corpus import Batch
from tiltyard.models.embedded.settings import TrainingSettings

if TYPE_CHECKING:
    import torch


class Trainee:
    """A model that learns.

    Args:
        settings: What decides its weights.
        tokenizer: Its tokenizer.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, settings: TrainingSettings, tokenizer: Any, device: str) -> None:
        import torch

        self._settings, self._device = settings, device
        self._model = _new_model(settings, tokenizer).to(device).train()
        self._weights: list[torch.Tensor] = list(self._model.parameters())
        self._average = [weight.detach().clone() for weight in self._weights] if settings.ema else []
        inside = [weight for name, weight in self._model.named_parameters() if _inside(name, weight)]
        others = [weight for name, weight in self._model.named_parameters() if not _inside(name, weight)]
        self._optimizers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(
                inside,
                lr=settings.learning_rate,
                weight_decay=settings.weight_decay,
                momentum=settings.momentum,
                adjust_lr_fn="match_rms_adamw",  # so that one learning rate does for both
            ),
            torch.optim.AdamW(
                others,
                lr=settings.learning_rate,
                weight_decay=0,
                betas=(settings.beta1, settings.beta2),
                fused=True,
            ),
        )

    @property
    def parameters(self) -> int:
        """How many numbers the model consists of; those of the embedding count once."""
        return sum(weight.numel() for weight in self._weights)

    def step(self, batch: Batch, step: int) -> "torch.Tensor":
        """Learn from a batch.

        Args:
            batch: Episodes.
            step: Steps that were made before.

        Returns:
            The mean loss over the tokens of answers, and over all tokens, in nats.
        """
        import torch

        answer, everything = self._losses(batch)
        torch.autograd.backward(answer + self._settings.context_weight_at(step) * everything)
        torch.nn.utils.clip_grad_norm_(self._weights, self._settings.clip)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self._settings.learning_rate_at(step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self._average:
            # Early weights are far from good: the average begins short.
            share = min(self._settings.ema, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(self._average, self._weights, 1 - share)
        return torch.stack((answer, everything)).detach()

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        return {
            "model": self._model.state_dict(),
            "average": self._average,
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._model.load_state_dict(state["model"])
        for optimizer, its in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(its)
        for mine, theirs in zip(self._average, state["average"], strict=True):
            mine.copy_(theirs)

    def save(self, folder: Path) -> None:
        """Write the model with its averaged weights, in bfloat16, in the form of transformers."""
        import copy

        import torch

        model = copy.deepcopy(self._model)
        for weight, average in zip(model.parameters(), self._average or self._weights, strict=True):
            weight.data.copy_(average.data)
        model.to("cpu", torch.bfloat16).save_pretrained(folder)

    def _losses(self, batch: Batch) -> tuple["torch.Tensor", "torch.Tensor"]:
        import torch
        from torch.nn import functional

        ids = torch.from_numpy(batch.ids).long()
        lengths = torch.from_numpy(batch.lengths)
        there = torch.arange(1, ids.shape[1]) < lengths[:, None]
        targets = ids[:, 1:][there].to(self._device)
        answers = torch.from_numpy(batch.answer)[:, 1:][there].to(self._device)
        # Padding stands behind what is real, so causal attention never reads it and needs no mask.
        places = there.flatten().nonzero().squeeze(1).to(self._device)
        with torch.autocast(self._device, torch.bfloat16):
            states = self._model.model(input_ids=ids[:, :-1].to(self._device), use_cache=False)[0]
            logits = self._model.lm_head(states.flatten(0, 1)[places])
        losses = functional.cross_entropy(logits.float(), targets, reduction="none")
        answer = (losses * answers).sum() / answers.sum().clamp(min=1)
        return answer, losses.mean()


def _inside(name: str, weight: "torch.Tensor") -> bool:
    """Whether a weight is a matrix from states to states, which Muon is made for: no embedding, no norm."""
    return weight.dim() == 2 and "embed" not in name


def _new_model(settings: TrainingSettings, tokenizer: Any) -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=settings.intermediate,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        head_dim=settings.width // settings.heads,
        max_position_embeddings=settings.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):  # leaves the caller's random numbers as they are
        torch.manual_seed(settings.seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model
