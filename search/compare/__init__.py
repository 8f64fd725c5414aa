"""Views of a run, all read from its history: the live line, the table, TensorBoard, the export."""
