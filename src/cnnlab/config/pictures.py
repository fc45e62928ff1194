"""The table of pictures that `cnnlab visualize` draws."""

PICTURES: dict[str, str] = {
    "filters": "cnnlab.visualization.filters:draw_filters",
    "activations": "cnnlab.visualization.activations:draw_activations",
    "deconvnet": "cnnlab.visualization.projections:draw_projections",
    "top9": "cnnlab.visualization.projections:draw_top9",
    "occlusion": "cnnlab.visualization.occlusion:draw_occlusion",
    "equivariance": "cnnlab.visualization.invariance:draw_equivariance",
    "invariance": "cnnlab.visualization.invariance:draw_invariance",
    "neighbors": "cnnlab.visualization.neighbors:draw_neighbors",
    "predictions": "cnnlab.visualization.neighbors:draw_predictions",
    "evolution": "cnnlab.visualization.evolution:draw_evolution",
    "filter_evolution": "cnnlab.visualization.filters:draw_filter_evolution",
}
"""Name -> what draws it: (network, Probe) -> list of Picture. Its name is a value of `what`."""
