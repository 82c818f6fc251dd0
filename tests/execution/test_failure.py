from crystalseg.execution.failure import failure


def test_a_failure_is_a_sentence():
    assert failure(ValueError("The image is empty.")) == "The image is empty."
    assert failure(MemoryError()).startswith("There is not enough memory")
    assert failure(KeyError("Vera")) == "The run failed: KeyError('Vera')."
