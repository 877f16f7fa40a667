"""What tests of several readers use."""

import pytest


@pytest.fixture
def refused(tmp_path):
    """Check that a reader refuses some bytes, with the file's name and the reason."""

    def check(reader, content, reason):
        file = tmp_path / "given"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=rf"given: expected .*(?:{reason})"):
            reader(file)

    return check
