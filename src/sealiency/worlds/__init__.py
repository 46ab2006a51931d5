"""Made worlds whose truth is known, one a file."""
