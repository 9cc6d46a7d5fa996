"""When TRL changes what we rely on, construction fails and says so."""

import re

import pytest
from trl import GRPOTrainer

from trl_srl.seams import TRL_SEAMS, check_generated, check_trl_attributes, check_trl_methods

from .test_layers import PACKAGE, TOUCH_TRL_PRIVATES


def test_the_installed_trl_has_the_methods():
    check_trl_methods(GRPOTrainer)


@pytest.mark.parametrize("module", sorted(TOUCH_TRL_PRIVATES))
def test_every_method_of_trl_that_we_use_is_checked(module):
    source = (PACKAGE / f"{module}.py").read_text()
    used = {name for name in re.findall(r"(?:self|super\(\))\.(_[a-z]\w*)\(", source) if hasattr(GRPOTrainer, name)}
    assert used and used <= set(TRL_SEAMS)


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
