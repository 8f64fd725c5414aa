"""Circuits measured: tasks, evaluators, training-free scores, and the ways to and from PennyLane and OpenQASM."""
