"""Networks by name, their initial weights, and the device that they run on."""
