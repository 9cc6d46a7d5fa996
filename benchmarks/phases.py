"""A trainer that says what generation, reward and training take: seconds, and peaks of the CUDA allocator."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from trl_srl import SRLTrainer
from trl_srl.similarity import step_similarities


def whole_completion_reward(completions: list, expert_action: list[str], **kwargs: object) -> list[float]:
    """The similarity of everything that was written to the expert's step, whether it follows the format or not."""
    return step_similarities([completion[-1]["content"] for completion in completions], expert_action)


class Phases:
    """
    Seconds and bytes by phase. `reserved` is what the allocator held at most, `allocated` what tensors took; neither
    knows the CUDA context. On a CPU there are no bytes.
    """

    def __init__(self, on_cpu: bool) -> None:
        self.on_cpu = on_cpu
        self.steps: list[dict[str, Any]] = []
        self.begin()

    def begin(self) -> None:
        if not self.on_cpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self.since = time.perf_counter()

    def end(self) -> dict[str, Any]:
        """What the phase took that began last; the next begins."""
        taken: dict[str, Any] = {}
        if not self.on_cpu:
            torch.cuda.synchronize()
            taken = {
                "allocated": torch.cuda.max_memory_allocated(),
                "reserved": torch.cuda.max_memory_reserved(),
            }
        taken["seconds"] = time.perf_counter() - self.since
        self.begin()
        return taken


class PhaseTrainer(SRLTrainer):
    """[`SRLTrainer`] that keeps what each phase of a step took; what is between the phases counts as training."""

    phases: Phases
    decoding: Callable[[], AbstractContextManager[None]] = nullcontext  # in which completions are generated

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        rest = self.phases.end()
        with self.decoding():
            output = super()._generate(*args, **kwargs)
        self._step_taken = {"generate": self.phases.end(), "train": rest, "reward": {"seconds": 0.0}}
        self._step_taken["tokens"] = sum(len(ids) for ids in output[1])
        return output

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
        before = self.phases.end()
        output = super()._calculate_rewards(*args, **kwargs)
        self._step_taken["reward"] = self.phases.end()
        self._step_taken["train"]["seconds"] += before["seconds"]
        return output

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        output = super().training_step(*args, **kwargs)
        taken, train = self._step_taken, self.phases.end()
        train["seconds"] += taken["train"]["seconds"]
        for name in ("allocated", "reserved"):
            if name in train:
                train[name] = max(train[name], taken["train"].get(name, 0))
        taken["train"] = train
        if self._step % self.current_gradient_accumulation_steps == 0:
            self.phases.steps.append(dict(taken))
        return output

    @torch.no_grad()
    def greedy_gap(self, prompts: list, length: int = 32) -> float:
        """
        Whether generation is the model's own: how far its greedy tokens are below the likeliest ones of plain forward
        passes over the same texts, as a mean in nats. 0 but for rounding; several nats if it goes wrong.
        """
        saved = self.generation_config.do_sample, self.generation_config.max_new_tokens
        self.generation_config.do_sample, self.generation_config.max_new_tokens = False, length
        with self.decoding():
            prompt_ids, completion_ids, *_ = super()._generate(prompts)
        self.generation_config.do_sample, self.generation_config.max_new_tokens = saved
        gaps = []
        for prompt, completion in zip(prompt_ids, completion_ids, strict=True):
            ids = torch.tensor([[*prompt, *completion]], device=self.accelerator.device)
            logits = self.model(ids, logits_to_keep=len(completion) + 1).logits[0, :-1].float()
            chosen = logits.gather(1, ids[0, len(prompt) :, None])[:, 0]
            gaps.append(logits.amax(1) - chosen)
        return torch.cat(gaps).mean().item()
