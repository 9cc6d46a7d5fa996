"""Logits on fixed texts tell models apart."""

import pytest
import torch

from trl_srl.weights.probe import PROBE_TEXTS, probe_logits, relative_difference


def test_probe_logits(make_model, tokenizer):
    model = make_model()
    model.train()
    logits = probe_logits(model, tokenizer)
    assert logits.shape == (len(PROBE_TEXTS) * 4, len(tokenizer)) and model.training
    assert logits.mean(1).abs().max() < 1e-5
    assert torch.equal(logits, probe_logits(make_model(), tokenizer))
    assert relative_difference(probe_logits(make_model(seed=1), tokenizer), logits) > 0.5


def test_large_vocabularies_are_sampled(make_model, tokenizer):
    assert probe_logits(make_model(vocab_size=10_000), tokenizer).shape[1] == 3334  # each third of 10,000


def test_relative_difference():
    assert relative_difference(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 0.0]])) == pytest.approx(4 / 3)
    with pytest.raises(ValueError, match="cannot be compared"):
        relative_difference(torch.zeros(1, 2), torch.zeros(1, 3))
