"""Tasks by name: what circuits can be searched for, one component a file."""
