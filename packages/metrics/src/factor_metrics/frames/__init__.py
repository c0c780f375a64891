"""The way in from long data frames and back; pandas is an extra and imported where it is used."""
