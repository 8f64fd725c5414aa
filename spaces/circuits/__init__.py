"""Circuits as data: gates, coupling maps, pools of circuits, and everything that can be said of a circuit unrun.

A pool is arrays from birth (`Pool`), never a list of gate objects; what looks at circuits works on all at once.
"""
