"""What a checkpoint becomes again: a network, a member of an ensemble, a predictor."""
