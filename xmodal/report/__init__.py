"""What runs and studies say, for people: one HTML page, figures, and tables in four forms. Loads nothing by itself."""
