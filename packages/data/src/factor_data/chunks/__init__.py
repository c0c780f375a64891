"""Sets larger than memory: bars are sorted and cleaned by symbols, features normalised by dates, part by part.

What is written does not depend on how large the parts are or how many are worked on at once.
"""
