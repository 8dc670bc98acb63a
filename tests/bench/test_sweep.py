from bench.sweep import combinations


def test_sweep_begins_with_the_defaults_and_repeats_nothing():
    found = combinations()
    assert found[0] == {}
    assert len({tuple(sorted(environment.items())) for environment in found}) == len(found)
