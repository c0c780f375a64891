"""The lists of `make check`: one function a line, which says what it found or raises what is wrong."""
