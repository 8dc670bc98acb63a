import pytest

from app.pipeline.manifest import Metrics
from training.bundle.gates import GATES, failed_gates


def metrics(loss_q=0.1, share=0.2, fidelity=0.99, diversity=0.8, rotation_agreement=0.95):
    """Five clusters, the last of them as asked."""
    good = {"share": 0.2, "fidelity": 1.0, "diversity": 1.0}
    return Metrics.model_validate(
        {
            "loss_q": loss_q,
            "rotation_agreement": rotation_agreement,
            "clusters": [good] * 4 + [{"share": share, "fidelity": fidelity, "diversity": diversity}],
            "onnx_max_difference": 0.0,
            "image_level": {},
        }
    )


def test_good_figures_pass_every_gate():
    assert failed_gates(metrics()) == []


@pytest.mark.parametrize(
    ("figure", "passes", "fails"),
    [
        ("loss_q", 0.1999, 0.2),
        ("share", 0.03, 0.0299),
        ("fidelity", 0.95, 0.9499),
        ("diversity", 0.5, 0.4999),
        ("rotation_agreement", 0.9, 0.8999),
    ],
)
def test_each_gate_stands_where_the_specification_put_it(figure, passes, fails):
    assert failed_gates(metrics(**{figure: passes})) == []
    (failure,) = failed_gates(metrics(**{figure: fails}))
    assert failure.startswith(GATES[figure].title)
    assert GATES[figure].wanted in failure


def test_cluster_too_small_to_measure_its_diversity_does_not_pass():
    assert len(failed_gates(metrics(diversity=None))) == 1


def test_collapsed_model_fails_several_gates():
    assert len(failed_gates(metrics(loss_q=1.61, share=0.0, fidelity=0.0, diversity=None))) == 4
