import platform
import subprocess
import sys

import pytest
import torch

from sealiency.emulators import devices
from sealiency.emulators.devices import arithmetic, choose_device, set_up_process
from sealiency.errors import SealiencyError


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


BEFORE_AND_AFTER = """
import resource, sys, tempfile
from pathlib import Path
import torch
from sealiency.config.emulator import Training, resolve_training
from sealiency.config.networks import DenseNetwork
from sealiency.data.samples import Split
from sealiency.emulators.devices import set_up_process
from sealiency.emulators.emulator import hash_weights
from sealiency.emulators.training import train_emulator

# Batches of several MB, which glibc maps by itself.
generator = torch.Generator().manual_seed(0)
noise, ocean = torch.randn(60, 70, 125, generator=generator), torch.ones(70, 125, dtype=bool)
network = DenseNetwork(stem_channels=16, growth_rate=4, dense_layers=(1, 1, 1))
settings = resolve_training(Training(epochs=2, batch_size=8, precision=sys.argv[1], device="cpu"), lead=6, seed=0)

def train(name):
    split = Split(range(12, 28), range(40, 44), range(44, 44))
    result = train_emulator(noise, ocean, split, 12, network, settings, Path(folder) / name, "")
    return hash_weights(result.weights)

def count_faults():
    # What is kept may lie where training has been since: its first touch is no matter.
    torch.ones(2**25)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(2**25)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults

torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as folder:
    before = train("before"), count_faults()
    set_up_process(1)
    count_faults()
    print(*before, train("after"), count_faults(), torch.get_num_threads())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_memory_is_kept_and_training_ends_at_the_same_weights(precision):
    # In a process of its own, because it cannot be undone.
    command = [sys.executable, "-c", BEFORE_AND_AFTER, precision]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    weights, faults, same_weights, fewer_faults, threads = answer.stdout.split()
    assert weights == same_weights
    # 128 MiB eight times, in pages of 4 KiB or, where the system makes them huge, of 2 MiB.
    assert int(faults) >= 8 * 64
    assert int(fewer_faults) < int(faults) / 8
    assert threads == "1"


def test_a_c_library_without_mallopt_will_do(monkeypatch):
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: object())
    set_up_process(1)
