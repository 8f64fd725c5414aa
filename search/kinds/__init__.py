"""Kinds of objectives that are themselves searches: a trial asks a searcher and tells it, thousands of times.

They are objectives as `objectives.kinds` describes them, on its shelf too, and may say besides

    SAID         of the winner in words, a sentence each: format strings over the names of metrics, left out where the
                 trial lacks one of them
    latent_map   `latent_map(config, state)`: where a trial has searched, for TensorBoard's projector: vectors (N, d) of
                 what it saw, and what is known of each, lists of N by name, None in them for what is not known; None
                 where there is no such map. It is asked in the process of `pretune board`, so it should read, not learn
"""
