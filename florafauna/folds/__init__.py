"""The folds of a cross-validation: how they are drawn, and what models say of the photos that they did not see."""
