import pytest

from crystalseg.ui import shared


@pytest.fixture
def own_queue():
    """A queue of the test's own, and with it its example: both are kept as long as the process lives."""

    def forget():
        shared.queue.clear()
        shared.first_job.clear()

    forget()
    yield
    shared.queue().close()
    forget()
