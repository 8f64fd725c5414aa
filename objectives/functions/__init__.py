"""Test functions, one a file, all to be minimised, each with a minimum that is known.

Beside `Config` and `build(config)`, which gives a callable without arguments, such a module has

    OPTIMUM      the least value that there is; of several metrics each has its own truth in the module
    NOISE        optional: standard deviation of the noise that every trial sees its value through

The callable gives the value, or a mapping of metrics where there are several. The eight `tree_*` are the branches of
one conditional problem: a study's space is a switch over functions, and each of them has knobs of its own.
"""
