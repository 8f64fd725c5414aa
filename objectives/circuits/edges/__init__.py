"""The ways out and in: PennyLane operations and tapes, OpenQASM text, drawings."""
