import pytest
import torch

from sealiency.errors import SealiencyError
from sealiency.models.devices import arithmetic, choose_device, keep_memory


def read_arithmetic() -> list[str]:
    return [torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision]


def test_tf32_is_used_only_where_it_is_asked_for():
    # A GPU would round float32 convolutions to TF32 by itself.
    before = read_arithmetic()
    with arithmetic("float32"):
        assert read_arithmetic() == ["ieee", "ieee"]
        with arithmetic("tf32"):
            assert read_arithmetic() == ["tf32", "tf32"]
        assert read_arithmetic() == ["ieee", "ieee"]
    assert read_arithmetic() == before


def test_arithmetic_is_put_back_after_an_error():
    before = read_arithmetic()
    with pytest.raises(ZeroDivisionError), arithmetic("tf32"):
        raise ZeroDivisionError
    assert read_arithmetic() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_device_without_a_gpu():
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    with pytest.raises(SealiencyError, match="PyTorch sees no GPU here"):
        choose_device("cuda")


def test_memory_may_be_kept_anywhere():
    keep_memory()
    assert torch.ones(10**7).sum() == 10**7
