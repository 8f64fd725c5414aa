"""Kinds of objectives that are themselves searches: a trial asks a searcher and tells it, thousands of times.

They are objectives as `objectives.kinds` describes them, on its shelf too, and may say besides

    SAID      of the winner in words, a sentence each: format strings over the names of metrics, left out where the
              trial lacks one of them
"""
