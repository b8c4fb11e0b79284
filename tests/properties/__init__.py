"""What must hold for any order of events, tried out against a model."""

import pytest

# its assertions say what differed, as those of a test do
pytest.register_assert_rewrite("tests.properties.machine")
