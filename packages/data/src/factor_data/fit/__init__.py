"""What is fitted on training dates (normalisers, tokens, vocabularies) and the order statistics it is made of."""
