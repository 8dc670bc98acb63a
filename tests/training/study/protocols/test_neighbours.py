import numpy as np
import pytest

from training.study.protocols.neighbours import NEIGHBOURS, by_company, neighbours
from training.study.typed_cells import UnlabelledCells


def unlabelled(places, tiles):
    places = np.array(places, np.float64).reshape(-1, 2)
    return UnlabelledCells(np.zeros((len(places), 32, 32, 3), np.uint8), np.array(tiles, np.int64), places)


def test_company_is_the_nearest_of_the_same_tile():
    random = np.random.default_rng(0)
    cells = unlabelled(random.uniform(0, 500, (60, 2)), np.repeat([0, 1], 30))
    company = neighbours(cells)
    assert company.shape == (60, NEIGHBOURS)
    for cell, found in enumerate(company):
        distances = np.linalg.norm(cells.centroids - cells.centroids[cell], axis=1)
        distances[cells.tile_index != cells.tile_index[cell]] = np.inf
        distances[cell] = np.inf
        assert set(found) == set(np.argsort(distances)[:NEIGHBOURS])


def test_cell_is_never_of_its_own_company_even_where_cells_share_a_place():
    company = neighbours(unlabelled([[5, 5]] * 40, [0] * 40))
    assert not (company == np.arange(40)[:, None]).any()


def test_company_of_few_cells_repeats_and_a_lone_cell_keeps_itself():
    company = neighbours(unlabelled([[0, 0], [1, 0], [9, 0], [0, 0]], [0, 0, 0, 1]))
    assert set(company[0]) == {1, 2}
    assert set(company[3]) == {3}


@pytest.mark.parametrize(("own", "expected"), [(0.9, 1), (0.99, 0)])
def test_company_weighs_twice_as_much_as_the_cell(own, expected):
    """Against a company of .26 for cluster 0 a cell needs more than 3/2 − 2 · .26 = .98."""
    probabilities = np.full((17, 2), [0.26, 0.74], np.float32)
    probabilities[0] = own, 1 - own
    company = np.tile(np.arange(1, 17), (17, 1))
    assert by_company(probabilities, company)[0] == expected
