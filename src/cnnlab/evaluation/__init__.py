"""Evaluation: views -> members -> metrics; one network is an ensemble of one.

Reading order: views, classes, metrics, evaluate, observers, ensemble.
"""
