"""Pictures as data, and two ways to draw them: on screen (plotly) and on paper (matplotlib)."""
