"""The playground: one HTML page in which a trained network answers while somebody draws."""
