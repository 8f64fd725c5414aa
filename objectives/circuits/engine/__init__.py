"""The batch engine: many different small circuits at once, compiled, with gradients and optimisers inside.

table         the gate table flattened into arrays
program       a circuit becomes a list of Pauli rotations; its Clifford gates disappear
lanes         eight numbers at once: the few vector instructions that everything rests on
statevector   cost and gradient of one program
optimise      optimisers and the training of one circuit
kernel        all circuits of a pool, on all threads
"""
