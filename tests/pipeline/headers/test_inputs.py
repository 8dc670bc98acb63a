import math

import pytest

from app.pipeline.errors import InvalidParameter
from app.pipeline.headers.inputs import MPP_RANGE, check_mpp, is_possible_mpp


@pytest.mark.parametrize("mpp", [*MPP_RANGE, 0.25, 1])
def test_mpp_of_a_microscope_is_possible(mpp):
    assert is_possible_mpp(mpp)
    check_mpp(mpp)


@pytest.mark.parametrize("mpp", [0.049, 4.01, 0, -1, math.nan, math.inf, -math.inf])
def test_mpp_of_no_microscope_is_refused_with_the_range(mpp):
    assert not is_possible_mpp(mpp)
    with pytest.raises(InvalidParameter, match=r"between 0\.05 and 4\.0 µm per pixel"):
        check_mpp(mpp)


def test_unknown_mpp_is_no_error():
    check_mpp(None)
