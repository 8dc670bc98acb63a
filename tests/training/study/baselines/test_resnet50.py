import pytest
import torch

from training.errors import DataError
from training.study.baselines.resnet50 import load_resnet50_trunk, resnet50_trunk


def test_it_is_the_published_network_without_its_last_stage():
    """torchvision's ResNet-50 has 25,557,032 parameters: 14,964,736 of them in layer4 and 2,049,000 in fc."""
    trunk = resnet50_trunk()
    assert sum(values.numel() for values in trunk.parameters()) == 25_557_032 - 14_964_736 - 2_049_000
    assert {"conv1.weight", "layer1.0.downsample.1.running_var", "layer3.5.conv3.weight"} <= trunk.state_dict().keys()
    assert trunk.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1024, 4, 4)


def test_weights_of_the_whole_network_are_taken(tmp_path):
    state = {name: torch.rand_like(value.float()) for name, value in resnet50_trunk().state_dict().items()}
    torch.save({**state, "layer4.0.conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}, tmp_path / "w.pth")
    loaded = load_resnet50_trunk(tmp_path / "w.pth").state_dict()
    assert torch.equal(loaded["layer3.5.bn3.bias"], state["layer3.5.bn3.bias"])


@pytest.mark.parametrize("content", [None, b"not weights", {"conv1.weight": torch.zeros(1)}, [1, 2]])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(DataError, match=r"weights\.pth does not hold the weights of a ResNet-50"):
        load_resnet50_trunk(path)
