"""What these tests need is there when scripts/test runs them."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest
@pytest.fixture
def compiler():
    pytest.skip("no C compiler")
def test_of_a_fixture(compiler): pass
def test_that_skips(): pytest.skip("no zeb program")
def test_that_imports(): pytest.importorskip("no_such_package")
@pytest.mark.xfail
def test_of_what_is_known(): assert False
def test_that_runs(): pass
"""


@pytest.mark.parametrize("zeb, said", [("", "1 passed, 3 skipped, 1 xfailed"),
                                       ("/bin/true", "2 failed, 1 passed, 1 xfailed, 1 error")])
def test_a_skip_is_no_success_where_zeb_is_named(tmp_path, zeb, said):
    (tmp_path / "test_it.py").write_text(TESTS)
    env = {**os.environ, "ZEB": zeb, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", "test_it.py"],
                          cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == bool(zeb) and said in done.stdout, done.stdout
