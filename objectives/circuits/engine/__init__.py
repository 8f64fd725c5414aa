"""The batch engine: many different small circuits at once, compiled, with gradients and optimisers inside.

table         the gate table flattened into arrays
program       a circuit becomes a list of Pauli rotations; its Clifford gates disappear
stabiliser    what the Clifford gates make of |0…0⟩
lanes         eight numbers at once: the few vector instructions that everything rests on
statevector   cost and gradient of one program
optimise      optimisers, and the training of one circuit
kernel        all circuits of a pool, on all threads
costs         tasks and pools in the arrays that the kernel takes
"""

from pathlib import Path


def _forget_stale() -> None:
    """Removes compiled code that is older than a source: numba watches a function's own file, not those it calls."""
    here = Path(__file__).parent
    newest = max(source.stat().st_mtime for source in here.glob("*.py"))
    for folder in (here, here.parent, here.parent / "cuda"):
        for index in (folder / "__pycache__").glob("*.nbi"):
            if index.stat().st_mtime < newest:
                index.unlink(missing_ok=True)


_forget_stale()
