from crystalseg.execution.failure import failure


def test_a_failure_is_a_sentence():
    assert failure(ValueError("The image is empty.")) == "The image is empty."
    assert failure(MemoryError()).startswith("There is not enough memory")
    assert failure(KeyError("Vera")) == "It failed: KeyError('Vera')."
    full = OSError(28, "No space left on device", "/data/x")
    assert failure(full) == "/data/x: No space left on device; nothing that was shown as saved is lost."
