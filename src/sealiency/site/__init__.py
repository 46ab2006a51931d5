"""A supercomputer: the file that describes it, and the checks of it before anything is submitted."""
