"""The engine on a GPU against the engine on processors and NumPy: on a device where there is one, else on numba's
simulator of one, and by numba's compiler, which is stricter than the simulator. Run as a script, this file compares
on what it finds."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from drawn import dense_states

import objectives.circuits.cuda as engine
from objectives.circuits.batch import Batch
from objectives.circuits.cuda import Cuda
from objectives.circuits.evaluate import Training, evaluate
from objectives.circuits.observable import Observable
from objectives.circuits.task import Task
from spaces.circuits.gates import GATES
from spaces.circuits.pool import CircuitError, Pool

ROOT = Path(__file__).parents[3]
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
BLOCK = 8 if SIMULATED else 0  # the simulator takes long for each thread
CLOSE = {"double": 1e-10, "single": 1e-4}


def task(*observables, **rest):
    values = {"reference": -1.0, "threshold": 0.9, "strict": -0.99, "meaning": "low"} | rest
    return Task("a test", observables[0].wires - values.get("idle", 0), observables, **values)


def pool_of(wires, circuits, gates, rng):
    """Circuits of any gates; the first is empty."""
    kinds = [gate for gate in GATES if gate.wires <= wires]
    found = [[]]
    for _ in range(circuits - 1):
        drawn = [kinds[k] for k in rng.integers(len(kinds), size=gates)]
        found.append(
            [(g.name, *rng.permutation(wires)[: g.wires].tolist(), *rng.uniform(-7, 7, g.parameters)) for g in drawn]
        )
    return Pool.of(wires, found)


def words(wires, count, rng):
    letters = rng.choice(list("IXYZ"), (count, wires))
    return Observable.of_paulis(wires, ["".join(word) for word in letters], rng.normal(size=count))


def ising(wires):
    pairs = ["".join("Z" if w in (q, (q + 1) % wires) else "I" for w in range(wires)) for q in range(wires)]
    return Observable.of_paulis(
        wires, pairs + ["I" * q + "X" + "I" * (wires - q - 1) for q in range(wires)], [1.0] * 2 * wires
    )


def compare(pool, problem, evaluator, training=None, names=("values", "gradients", "best", "steps")):
    found, wanted = evaluate(pool, problem, training, evaluator), evaluate(pool, problem, training, Batch())
    for name in names:
        atol = 0 if name == "steps" else CLOSE[evaluator.precision]
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=0, atol=atol, err_msg=name)
    return found


def costs_of_all_gates(circuits, gates, registers):
    """Every gate, real and imaginary diagonals, registers narrower than a warp and wider than a block."""
    for wires in registers:
        rng = np.random.default_rng(wires)
        pool, problem = pool_of(wires, circuits, gates, rng), task(words(wires, 5, rng))
        for precision in CLOSE:
            found = compare(pool, problem, Cuda(precision, BLOCK))
            numpy = problem.observables[0].expectation(dense_states(pool))
            np.testing.assert_allclose(found.values, numpy, rtol=0, atol=CLOSE[precision])
    assert np.isnan(Cuda().costs(pool[:2], problem, gradients=False)[1]).all()


def trained_inside(circuits, gates, registers):
    """All optimisers in the kernel; steps differ between circuits, since some stop early."""
    rng, wires = np.random.default_rng(1), registers[0]
    pool, problem, steps = pool_of(wires, circuits, gates, rng), task(ising(wires)), 3 if SIMULATED else 20
    for name in ("adam", "adagrad", "gradient"):
        training = Training(name, 0.1, steps, 0.05)
        found = compare(pool, problem, Cuda("double", BLOCK), training)
        assert len(np.unique(found.steps)) > 1
        assert found.steps[0] == 0
        at_best = Batch().costs(replace(pool, theta=found.best_theta), problem)[0]
        np.testing.assert_allclose(at_best, found.best, atol=1e-10)
    compare(pool, problem, Cuda("single", BLOCK), Training("adam", 0.1, steps, -1.0), ("values", "best", "steps"))


def trained_outside(circuits, gates, registers):
    """Optimisers that only ask for costs."""
    pool = pool_of(2, min(circuits, 20), 4, np.random.default_rng(2))
    for name in ("rotosolve", "lbfgs"):
        compare(pool, task(ising(2)), Cuda("double", BLOCK), Training(name, steps=1), ("values", "best"))


def samples_inputs_projectors(circuits, gates, registers):
    """Several observables, first states and data, and a wire on which no gate acts."""
    rng, wires, samples = np.random.default_rng(3), 2, 3
    pool, wide = pool_of(wires, circuits, gates, rng), wires + 1
    states = rng.normal(size=(samples + 2, 2**wide)) + 1j * rng.normal(size=(samples + 2, 2**wide))
    states /= np.linalg.norm(states, axis=1, keepdims=True)
    both = Observable.of_states(wide, states[:2], [-0.5, -1.5]), words(wide, 4, rng)
    columns = pool.theta.shape[1] // 2
    fed = replace(pool, theta=pool.theta[:, :columns])
    data = rng.normal(size=(samples, pool.theta.shape[1] - columns))
    problem = task(*both, idle=1, initial=states[2:], inputs=data, which=np.array([0, 1, 0]))
    compare(fed, problem, Cuda("double", BLOCK), Training("adam", 0.1, 1, -1.0))
    compare(fed, problem, Cuda("single", BLOCK))
    compare(pool, task(both[0], idle=1), Cuda("double", BLOCK))
    compare(pool, task(*both, idle=1, inputs=np.zeros((2, 0)), which=np.array([1, 0])), Cuda("double", BLOCK))


def parts_and_blocks(circuits, gates, registers):
    """Results do not depend on how circuits are put together; on the size of a block by no more than rounding."""
    rng = np.random.default_rng(4)
    pool, problem = pool_of(3, min(circuits, 50), gates, rng), task(ising(3))
    whole, most = evaluate(pool, problem, evaluator=Cuda("double", 8)), engine.MOST_CIRCUITS
    try:
        engine.MOST_CIRCUITS = 2
        parted = evaluate(pool, problem, evaluator=Cuda("double", 8))
    finally:
        engine.MOST_CIRCUITS = most
    for name in ("values", "gradients", "best_theta"):
        np.testing.assert_array_equal(getattr(parted, name), getattr(whole, name))
    for threads in (16, 40, 64):
        compare(pool[:3], problem, Cuda("double", threads))
    assert len(evaluate(pool[:0], problem, evaluator=Cuda()).values) == 0
    compare(Pool.of(3, [[("H", 0), ("CNOT", 0, 1)]]), problem, Cuda("double", BLOCK), Training())  # nothing to train


def refusals(circuits, gates, registers):
    """What cannot be is said."""
    big = Pool.of(15, [[("RX", 0, 0.1)]])
    for wrong, pool, message in (
        (Cuda("half"), big, "precision 'half'"),
        (Cuda(threads=12), big, r"12 threads a block; allowed: 0 \(chosen\) and multiples of 8"),
        (Cuda(threads=512), big, "512 threads"),
        (Cuda(), big, r"1 rotations on 15 wires take 5\d\d KiB of the GPU's shared memory in single"),
        (Cuda("double"), big, "in double precision; a block has .* KiB, enough for 1[0-3] wires"),
    ):
        with pytest.raises(CircuitError, match=message):
            evaluate(pool, task(Observable.of_paulis(15, ["Z" * 15], [1.0])), evaluator=wrong)


COMPARISONS = (
    costs_of_all_gates, trained_inside, trained_outside, samples_inputs_projectors, parts_and_blocks, refusals
)  # fmt: skip
SMALL, LARGE = (3, 8, (1, 3)), (200, 60, (4, 1, 2, 3, 5, 8, 9, 10))


@pytest.mark.gpu
@pytest.mark.parametrize("comparison", COMPARISONS)
def test_a_gpu_computes_what_the_processor_does(comparison):
    comparison(*LARGE)


@pytest.mark.skipif(SIMULATED, reason="is what the simulator runs")
def test_a_simulated_gpu_computes_what_the_processor_does():
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("agrees") == len(COMPARISONS)


def test_the_compiler_takes_the_kernel_and_keeps_states_in_shared_memory(monkeypatch):
    numba_cuda = pytest.importorskip("numba.cuda")
    from numba import typeof
    from numba.cuda.cudadrv import nvvm

    from objectives.circuits.cuda import arrays, kernels
    from objectives.circuits.engine.optimise import Moments, Rule

    if not nvvm.is_available():
        pytest.skip("needs CUDA's compiler, but no device")
    chip = SimpleNamespace(compute_capability=(8, 0))
    monkeypatch.setattr(sys.modules["numba.cuda.dispatcher"], "get_current_device", lambda: chip)
    integers, reals, numbers = np.zeros((2, 3), np.int32), np.zeros((2, 3)), np.zeros(2, np.int64)
    start, values = np.zeros((2, 1, 8), np.float32), np.zeros(2)
    monkeypatch.setattr(engine, "gpu", lambda: SimpleNamespace(cuda=FakeCuda))
    arguments = (
        arrays.Programs(integers, integers, integers, reals, integers[0], start),
        numbers,
        engine.task_on_gpu(task(ising(2)), np.float32),
        Rule(0, 0.1, 5, 1e-6, 1e-8, 0.9, 0.999),
        True,
        Moments(reals, reals),
        arrays.Results(reals, values, reals, values, reals, numbers),
    )
    code, _ = numba_cuda.compile_ptx(kernels.train.py_func, tuple(map(typeof, arguments)), cc=(8, 0))
    assert code.count("ld.shared.f32") > 20
    assert "\tld.f32" not in code  # what the compiler does not know to be shared or global is slower
    assert "bar.sync" in code


class FakeCuda:
    """Enough of a device to hold arrays."""

    to_device = staticmethod(np.asarray)

    @staticmethod
    def current_context():
        return SimpleNamespace(get_memory_info=lambda: SimpleNamespace(free=2.0**30))


def test_without_a_gpu_there_is_a_clear_refusal(monkeypatch):
    import numba
    from numba import cuda

    pool, problem = Pool.of(2, [[("RX", 0, 0.1)]]), task(ising(2))
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    with pytest.raises(CircuitError, match=r"numba finds no GPU: .*numba-cuda.*Batch"):
        evaluate(pool, problem, evaluator=Cuda())
    monkeypatch.delattr(numba, "cuda")
    monkeypatch.setitem(sys.modules, "numba.cuda", None)
    with pytest.raises(CircuitError, match=r"numba has no CUDA target.*pip install numba-cuda"):
        Cuda().train(pool, problem, Training())


def test_a_task_that_does_not_fit_on_the_device_is_refused(monkeypatch):
    tiny = SimpleNamespace(get_memory_info=lambda: SimpleNamespace(free=1000.0))
    cuda = SimpleNamespace(current_context=lambda: tiny)
    monkeypatch.setattr(engine, "gpu", lambda: SimpleNamespace(cuda=cuda))
    with pytest.raises(CircuitError, match=r"the observables of a test would take .* GiB on the GPU; .* are free"):
        engine.task_on_gpu(task(ising(8)), np.float32)


if __name__ == "__main__":
    sys.setswitchinterval(1e-5)  # the simulator's threads wait for each other by asking
    for comparison in COMPARISONS:
        began = time.time()
        comparison(*(SMALL if SIMULATED else LARGE))
        print(f"{comparison.__name__} agrees ({time.time() - began:.1f} s)")
