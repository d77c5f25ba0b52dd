"""`florafauna serve`: a page on this machine that says what dropped photos show."""
