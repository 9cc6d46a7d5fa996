"""Whether two models are the same: their logits on a fixed set of texts.

Weights in other precisions, merged, quantised or sharded cannot be compared one by one; what a model says can.
"""

from typing import Any

import torch


# Short, so that even a large model on a CPU reads them in a minute; of several kinds, so that all of it has to work.
PROBE_TEXTS = (
    "A train leaves at 9:40 and arrives at 13:05. How long does it travel?",
    "If 3x + 7 = 25, then x = 6, because 25 - 7 = 18 and 18 / 3 = 6.",
    "First count the apples: 4 rows of 12 make 48. Then take away the 5 that were eaten.",
    "def area(radius):\n    return 3.14159 * radius**2",
    "The capital of France is Paris; its river is the Seine.",
    "Der Satz des Pythagoras: a² + b² = c².",
    "Therefore the sum of the angles is 180 degrees, and the third one must be",
    '{"name": "read_file", "arguments": {"path": "notes.txt", "lines": [1, 20]}}',
)
POSITIONS = 4  # the last ones of each text, which have read all of it
VOCABULARY = 4096  # entries compared at each, evenly spaced


@torch.no_grad()
def probe_logits(model: Any, tokenizer: Any) -> torch.Tensor:
    """
    What a model says to the probe texts.

    Args:
        model ([`~transformers.PreTrainedModel`] or `PeftModel`):
            The model; it is in the same mode (training or evaluation) afterwards.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            Its tokenizer.

    Returns:
        `torch.Tensor` of shape (texts x positions, vocabulary entries), float32, on the CPU: logits, less their mean
        at each position, which does not matter to a softmax.
    """
    was_training = model.training
    model.eval()
    logits = []
    for text in PROBE_TEXTS:
        ids = torch.tensor([tokenizer(text)["input_ids"]], device=next(model.parameters()).device)
        logits.append(model(input_ids=ids, use_cache=False).logits[0, -POSITIONS:].float().cpu())
    model.train(was_training)
    logits_N_V = torch.cat(logits)
    logits_N_V = logits_N_V[:, :: -(-logits_N_V.shape[1] // VOCABULARY)]
    return logits_N_V - logits_N_V.mean(1, keepdim=True)


def relative_difference(logits: torch.Tensor, reference: torch.Tensor) -> float:
    """Norm of the difference, as a share of the reference's norm: 0 for equal logits, about 1.4 for unrelated ones."""
    if logits.shape != reference.shape:
        raise ValueError(
            f"Logits of shape {tuple(logits.shape)} and {tuple(reference.shape)} cannot be compared: the models have "
            "different vocabularies or tokenizers."
        )
    return ((logits - reference).norm() / reference.norm()).item()
