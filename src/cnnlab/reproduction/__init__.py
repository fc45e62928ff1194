"""Claims measured here: plan -> runs -> measure -> statistics -> verdict, as one table."""
