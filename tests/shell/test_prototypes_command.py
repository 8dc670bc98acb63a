import pytest

from tests.shell.runs import listing, run, usage_error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5,), "The bundle's clusters are 0 to 4, found 5."),
        ((0, "--n", 0), "n must be 1 to 64, found 0."),
        (("--n", 65), "n must be 1 to 64, found 65."),
        (("--seed", -1), "seed must be 0 to 4294967295, found -1."),
        ((0, "--seed", 2**32), "seed must be 0 to 4294967295, found 4294967296."),
        (("--bundle", "other"), "there is no 'other'"),
        (("two",), "Input should be a valid integer"),
    ],
)
def test_what_does_not_exist_is_a_usage_error_with_what_does(here, arguments, message):
    assert message in usage_error("prototypes", *arguments)
    assert listing(here) == []


def test_file_that_cannot_be_written_is_named(here):
    (here / "file").write_text("")
    result = run("prototypes", 0, "--out", "file/x.png", status=1)
    assert "file/x.png cannot be written: " in result.stderr.replace("\\", "/")
    assert result.stdout == ""
