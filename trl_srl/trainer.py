"""`SRLTrainer`: GRPO on an expert's steps."""

import math
from functools import partial
from typing import Any

import torch
from accelerate.logging import get_logger
from accelerate.utils import gather_object
from datasets import Dataset, IterableDataset
from trl.trainer.utils import get_config_model_id

from .citations import SRL_CITATION
from .config import SRLConfig
from .doctor import FirstBatch, batch_arithmetic, diagnose
from .dynamic_sampling import DynamicSamplingTrainer
from .evaluation.backends import Generated
from .evaluation.steps import StepResult, evaluation_metrics, score_steps, without_repeats
from .formatting import format_trajectories
from .prompts import THINK_CLOSE, THINK_OPEN, count_prompt_tokens, is_think_prefilled, render_prompt
from .rewards import step_similarity_reward
from .selection import informative_groups
from .step_rows import FormattingSummary, check_step_rows, is_step_rows
from .terminal import diagnosis_table, show


logger = get_logger(__name__)


class SRLTrainer(DynamicSamplingTrainer):
    r"""
    Trainer for Supervised Reinforcement Learning (SRL, https://huggingface.co/papers/2510.25992).

    The difference to [`~trl.GRPOTrainer`]: the training data are expert solutions cut into steps, the reward of a
    completion is the similarity of its action to the expert's step (-1 when it does not follow the format), and groups
    without a difference in reward are replaced ([`DynamicSamplingTrainer`]). Everything else is inherited unchanged.

    Args:
        model (`str` or [`~transformers.PreTrainedModel`] or `PeftModel`):
            The model to train, as in [`~trl.GRPOTrainer`]; its tokenizer needs a chat template.
        args ([`SRLConfig`], *optional*):
            Arguments.
        train_dataset ([`~datasets.Dataset`] or [`~datasets.IterableDataset`]):
            Trajectory rows (`problem` and `steps`) or step rows (`prompt` and `expert_action`), see
            [`format_trajectories`]. Trajectory rows are formatted with the settings of `args`.
        eval_dataset (*optional*):
            The same, or a dict of them. Keep its problems out of the training data: [`split_by_problem`].
        reward_funcs (`Callable` or `list`, *optional*):
            Rewards to add to the similarity, for instance one for length; weigh them with `args.reward_weights`, whose
            first number is the similarity's.
        **kwargs:
            Everything else [`~trl.GRPOTrainer`] takes: `processing_class`, `peft_config`, `quantization_config`,
            `callbacks`, …

    Logged with every reward: `srl/similarity`, `srl/format_rate`, `srl/exact_step_rate`, `srl/cut_rate`,
    `srl/truncated_rate`; in evaluation as `eval_srl/…`, with a dict of sets as `eval_<name>_srl/…`, and beside them
    `right_number_rate`, `similarity_by_problem`, `monologue_length`, `action_length` and the mean similarity of each
    step, `eval_srl/similarity_by_step/1` and so on. Similarity can rise while the right steps do not: look at both.

    Example:

    ```python
    from datasets import load_dataset
    from trl_srl import SRLConfig, SRLTrainer

    trainer = SRLTrainer(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        args=SRLConfig(output_dir="runs/srl"),
        train_dataset=load_dataset("json", data_files="solutions.jsonl", split="train"),  # problem, steps
    )
    trainer.train()
    ```
    """

    _tag_names = ["trl", "srl"]
    _name = "SRL"
    _paper = {
        "title": "Supervised Reinforcement Learning: From Expert Trajectories to Step-wise Reasoning",
        "id": "2510.25992",
        "citation": SRL_CITATION,
    }
    _config_class = SRLConfig
    args: SRLConfig

    def __init__(
        self,
        model: Any,
        args: SRLConfig | None = None,
        train_dataset: Dataset | IterableDataset | None = None,
        eval_dataset: Dataset | IterableDataset | dict[str, Dataset | IterableDataset] | None = None,
        reward_funcs: Any = None,
        **kwargs: Any,
    ) -> None:
        eval_datasets = eval_dataset if isinstance(eval_dataset, dict) else {"eval": eval_dataset}
        for dataset in (train_dataset, *eval_datasets.values()):
            if isinstance(dataset, (Dataset, IterableDataset)):
                is_step_rows(dataset)  # raises on missing columns, before a large model is loaded
        extra = [] if reward_funcs is None else reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        super().__init__(
            model,
            [step_similarity_reward, *extra],
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            **kwargs,
        )
        if getattr(self.processing_class, "chat_template", None) is None:
            raise ValueError(
                f"The tokenizer of {get_config_model_id(self.model.config) or 'this model'} has no chat template, so "
                "SRL's prompts (chat messages) cannot be rendered. Use an instruct model, or set "
                "`processing_class.chat_template`."
            )
        self.formatting_summary: FormattingSummary
        self.train_dataset, self.formatting_summary = self._make_step_rows(train_dataset, "training")
        if isinstance(eval_dataset, dict):
            self.eval_dataset = {name: self._make_step_rows(rows, name)[0] for name, rows in eval_dataset.items()}
        elif eval_dataset is not None:
            self.eval_dataset = self._make_step_rows(eval_dataset, "evaluation")[0]
        self.check_batch_fits()
        self.think_prefilled = self._find_think_prefilled()
        self.reward_funcs[0] = partial(
            step_similarity_reward,
            format_penalty=self.args.format_penalty,
            think_prefilled=self.think_prefilled,
            decode=self._decode,
            eos_token_ids=self.eos_token_ids,
        )
        self._diagnosed = False
        self._evaluated: list[StepResult] = []

    @property
    def _template_kwargs(self) -> dict[str, Any]:
        """How TRL renders prompts for generation."""
        return {"chat_template": self.chat_template, **self.chat_template_kwargs}

    def _make_step_rows(self, dataset: Any, what: str) -> tuple[Any, FormattingSummary]:
        """Format trajectory rows, or check ready step rows, and say what was kept and dropped."""
        limit: dict[str, Any] = {}
        if self.args.max_prompt_length is not None:
            # Bound to the tokenizer alone: `datasets` hashes and pickles it, which a trainer would not survive.
            count = partial(count_prompt_tokens, tokenizer=self._tokenizer, **self._template_kwargs)
            limit = {"max_prompt_length": self.args.max_prompt_length, "count_tokens": count}
        with self.accelerator.main_process_first():
            if is_step_rows(dataset):
                rows, summary = check_step_rows(dataset, **limit)
            else:
                rows, summary = format_trajectories(
                    dataset,
                    include_last_step=self.args.include_last_step,
                    title_hint=self.args.title_hint,
                    system_prompt=self.args.system_prompt,
                    history_window=self.args.history_window,
                    **limit,
                )
        if isinstance(dataset, Dataset):
            self.accelerator.print(f"SRL {what} data: {summary}")
        return rows, summary

    def _find_think_prefilled(self) -> bool:
        """Whether the chat template opens the think block; refuses one that also closes it."""
        prompt = self.first_prompt
        if prompt is None:
            raise ValueError("The training stream has no usable step row.\n" + str(self.formatting_summary))
        rendered = render_prompt(prompt, self._tokenizer, **self._template_kwargs)
        ending = rendered.rpartition(prompt[-1]["content"].strip())[-1]
        if THINK_OPEN in ending and THINK_CLOSE in ending:
            raise ValueError(
                "The chat template writes an empty think block at the end of the prompt, so no completion could "
                "follow SRL's format. Switch thinking on, for Qwen3 by "
                "SRLConfig(chat_template_kwargs={'enable_thinking': True})."
            )
        return is_think_prefilled(rendered)

    def _bad_format(self, rewards_N_F: torch.Tensor) -> torch.Tensor:
        return rewards_N_F[:, 0] == self.args.format_penalty

    def _calculate_rewards(
        self, inputs: list, prompts: list, completions: list, completion_ids_list: list
    ) -> torch.Tensor:
        rewards_N_F = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if self.model.training and not self._diagnosed:
            self._diagnosed = True
            self._diagnose(inputs, completion_ids_list, rewards_N_F)
        if not self.model.training:
            texts = [THINK_OPEN * self.think_prefilled + text for text in self._decode(completion_ids_list)]
            written = [
                Generated(text, len(ids), self._is_truncated(ids))
                for text, ids in zip(texts, completion_ids_list, strict=True)
            ]
            self._evaluated += score_steps(written, inputs)
        return rewards_N_F

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As [`~transformers.Trainer.evaluation_loop`]; `eval_srl/…` are means over rows, not over batches."""
        self._evaluated = []
        output = super().evaluation_loop(*args, **kwargs)
        results = gather_object(self._evaluated)
        if self.accelerator.num_processes > 1:
            results = without_repeats(results, self.num_generations_eval)
        for name, value in evaluation_metrics(results).items():
            self._metrics["eval"][f"srl/{name}"] = [value]
        return output

    def _diagnose(self, inputs: list, completion_ids_list: list, rewards_N_F: torch.Tensor) -> None:
        """Print the report on the first batch. `rewards_N_F` are those of all processes, the rest is this one's."""
        rewards_P_G = self._weigh(rewards_N_F).view(-1, self.num_generations)
        informative = informative_groups(rewards_P_G, self.args.min_reward_std)
        report = FirstBatch(
            bad_format=self._bad_format(rewards_N_F).float().mean().item(),
            truncated=self._truncated(completion_ids_list).float().mean().item(),
            uninformative=1 - informative.float().mean().item(),
            completion=self._decode(completion_ids_list[:1])[0],
            expert_action=inputs[0]["expert_action"],
            reward=rewards_N_F[0, 0].item(),
            think_prefilled=self.think_prefilled,
        )
        if self.accelerator.is_main_process:
            diagnosis = diagnose(report, self.max_completion_length)
            show(diagnosis_table(diagnosis), str(diagnosis))

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As [`~transformers.Trainer.train`]; says first how many prompts, rollouts and steps there will be."""
        self.accelerator.print(f"SRL: {self._batch_arithmetic()}")
        output = super().train(*args, **kwargs)
        if not isinstance(self.train_dataset, Dataset):
            self.accelerator.print(f"SRL training data, as far as they were read: {self.formatting_summary}")
        return output

    def _batch_arithmetic(self) -> str:
        args = self.args
        completions = args.per_device_train_batch_size * args.world_size * args.gradient_accumulation_steps
        if not isinstance(self.train_dataset, Dataset):
            return batch_arithmetic(None, completions, self.num_generations, None, args.max_steps)
        # A generation batch serves steps_per_generation x num_iterations backward passes; a rest of rows is left out.
        batches = len(self.train_dataset) // (args.generation_batch_size // self.num_generations)
        passes = batches * args.steps_per_generation * self.num_iterations
        steps_per_epoch = max(passes // args.gradient_accumulation_steps, 1)
        max_steps = args.max_steps if args.max_steps > 0 else math.ceil(steps_per_epoch * args.num_train_epochs)
        return batch_arithmetic(len(self.train_dataset), completions, self.num_generations, steps_per_epoch, max_steps)
