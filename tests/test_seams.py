"""When TRL changes what we rely on, construction fails and says so."""

import pytest
from trl import GRPOTrainer

from trl_srl.seams import check_generated, check_trl_attributes, check_trl_methods


def test_the_installed_trl_has_the_methods():
    check_trl_methods(GRPOTrainer)


def test_a_changed_method_fails_loudly():
    class Renamed(GRPOTrainer):
        def _generate(self, prompts, images):
            pass

    with pytest.raises(RuntimeError, match=r"Renamed._generate is \(self, prompts, images\).*pip install 'trl>="):
        check_trl_methods(Renamed)


def test_a_missing_method_fails_loudly():
    with pytest.raises(RuntimeError, match=r"object._generate is \(missing\), but trl-srl needs \(self, prompts\)"):
        check_trl_methods(object)


def test_a_missing_attribute_fails_loudly():
    with pytest.raises(RuntimeError, match=r"object._buffered_inputs is missing, so dynamic sampling would"):
        check_trl_attributes(object())


def test_another_number_of_values_fails_loudly():
    assert check_generated(tuple("abcdefgh")) == tuple("abcdefgh")
    with pytest.raises(RuntimeError, match="_generate returns 7 values, but trl-srl needs 8"):
        check_generated(tuple("abcdefg"))
