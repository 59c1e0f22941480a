"""From arrays, labels and texts to numbers; one folder a kind of output."""
