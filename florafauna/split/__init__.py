"""Groups photos that belong together and draws training, validation and test from the groups."""
