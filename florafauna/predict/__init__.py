"""`florafauna predict`: a trained model labels new photos, however many, and goes on where it was killed."""
