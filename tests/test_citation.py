"""How to cite the software."""

import re

from app import __version__
from tests.conftest import REPOSITORY


def test_the_citation_is_of_this_version():
    text = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^version: (.+)$", text) == [__version__]
