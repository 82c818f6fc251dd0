import numpy as np
import pytest

from crystalseg.execution.failure import LOG, failure
from crystalseg.micrographs.micrograph import MicrographError
from crystalseg.record import store


def test_a_foreseen_failure_is_a_sentence():
    assert failure(MicrographError("The image is empty.")) == "The image is empty."
    assert failure(MemoryError()).startswith("There is not enough memory")
    full = OSError(28, "No space left on device", "/data/x")
    assert failure(full) == "/data/x: No space left on device. Everything that was shown as saved is safe."


@pytest.mark.meets_faults
@pytest.mark.parametrize("wrong", [lambda: np.ones(2) + np.ones(3), lambda: {}["Vera"], lambda: int("one")])
def test_a_fault_of_the_program_is_said_to_be_one_and_logged(wrong):
    with pytest.raises((ValueError, KeyError)) as caught:
        wrong()
    sentence = failure(caught.value)
    assert str(caught.value) not in sentence
    assert "fault of the program" in sentence
    log = (store.home() / LOG).read_text()
    reference = sentence.partition("reference ")[2][:8]
    assert f"fault {reference}" in log
    assert "Traceback" in log
    assert type(caught.value).__name__ in log
